"""The gradient by autograd through all N steps (Cazenavette et al. 2022): the oracle.

Memory grows with N x B: every step's activations stay until the end.
"""

from dataclasses import replace

import torch

from datm.matching.problem import MatchGradient, Problem
from datm.matching.student import gradient_of


def solve(problem: Problem) -> MatchGradient:
    """The gradient of the matching loss by plain reverse mode."""
    leaves = [problem.images, problem.logits, problem.step_size]
    images, logits, step_size = (leaf.detach().requires_grad_() for leaf in leaves)
    problem = replace(problem, images=images, logits=logits, step_size=step_size)
    descent = gradient_of(problem.student.loss)
    with torch.enable_grad():
        thetas = [problem.start.detach().requires_grad_()]
        for step in range(problem.steps):
            if step == problem.first:
                thetas = [thetas[-1].detach().requires_grad_()]
            gradient, _ = descent(thetas[-1], *problem.inputs(step))
            thetas.append(thetas[-1] - problem.step_size * gradient)
        theta = thetas[problem.outer.ends(thetas)[0]]
        loss = problem.outer(theta)
        # A student may ignore its labels: what has no effect has a gradient of zero.
        by_images, by_logits, by_step_size = torch.autograd.grad(
            loss, (images, logits, step_size), materialize_grads=True
        )
    return MatchGradient(loss.detach(), by_images, by_logits, by_step_size, theta.detach())
