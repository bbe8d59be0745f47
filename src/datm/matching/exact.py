"""The exact gradient in constant memory: an adjoint recursion over the student's steps.

Notation: theta_i [P] parameters before step i, g_i = grad_theta l(theta_i), alpha the step size,
lambda_i = dL/dtheta_i [P], h_i = <g_i, lambda_{i+1}>.

Forward, theta_{i+1} = theta_i - alpha g_i. Backward, from lambda_N = dL/dtheta_N,
    dL/dx_i += -alpha dh_i/dx_i,  dL/dz_i += -alpha dh_i/dz_i,  dL/dalpha += -h_i,
    lambda_i = lambda_{i+1} - alpha dh_i/dtheta.
Only the theta_i are kept: N x P numbers, whatever the batch. Truncated, lambda stops at the first
step that is differentiated, and only the theta_i from there on are kept.
"""

import torch
from torch import Tensor

from datm.matching.problem import MatchGradient, Problem


def solve(problem: Problem) -> MatchGradient:
    """The gradient of the matching loss, exact up to rounding."""
    return sweep(problem, through_parameters=True)


@torch.no_grad()
def sweep(problem: Problem, through_parameters: bool) -> MatchGradient:
    """Both sweeps. Without `through_parameters` lambda stays as it is: TESLA's estimate."""
    thetas = _forward(problem)
    ends = problem.outer.ends(thetas)
    student = _at(thetas, ends)
    loss, outer = problem.outer.gradient(student)
    direction = torch.zeros_like(outer)
    alpha = problem.step_size
    sides = student.shape[:-1]
    images_grad = problem.images.new_zeros(*sides, *problem.images.shape)
    logits_grad = problem.logits.new_zeros(*sides, *problem.logits.shape)
    step_size_grad = alpha.new_zeros(sides)
    del thetas[max(ends) :]
    first = problem.first
    for block in reversed(problem.blocks(first, first + len(thetas))):
        rows = problem.batches[..., block.start : block.stop, :]
        raw, logits = problem.images[rows].requires_grad_(), problem.logits[rows]
        with torch.enable_grad():
            augmented = problem.augmented(block, raw)
        images = augmented.detach()
        by_augmented, by_logits = torch.empty_like(images), torch.empty_like(logits)
        for part in reversed(_parts(block, [first + end for end in ends])):
            direction = _entered(direction, outer, ends, part.stop - first)
            own = slice(part.start - block.start, part.stop - block.start)
            direction, by_part, by_part_logits, h = problem.student.retreat(
                thetas[part.start - first :],
                images[..., own, :, :, :, :],
                logits[..., own, :, :],
                direction,
                alpha,
                through_parameters,
            )
            del thetas[part.start - first :]
            by_augmented[..., own, :, :, :, :].copy_(by_part)
            by_logits[..., own, :, :].copy_(by_part_logits)
            step_size_grad -= h
        # Augmentation is pulled back by itself, so that the compiled step never sees its kinds.
        (by_raw,) = torch.autograd.grad(augmented, raw, by_augmented)
        _add_rows(images_grad, rows, -alpha * by_raw)
        _add_rows(logits_grad, rows, -alpha * by_logits)
        # Before the next block's are made.
        del raw, augmented, images, by_augmented, by_part, by_raw
    return MatchGradient(loss, images_grad, logits_grad, step_size_grad, student)


def _forward(problem: Problem) -> list[Tensor]:
    """theta_first .. theta_N."""
    thetas = [problem.start]
    for block in problem.blocks(0, problem.steps):
        rows = problem.batches[..., block.start : block.stop, :]
        images, logits = problem.augmented(block, problem.images[rows]), problem.logits[rows]
        thetas += problem.student.advance(thetas[-1], images, logits, problem.step_size)
        del thetas[: max(0, min(block.stop, problem.first) - block.start)]
    return thetas


def _parts(block: range, ends: list[int]) -> list[range]:
    """The block, or its steps one by one where students end on the way."""
    if any(block.start < end < block.stop for end in ends):
        return [range(step, step + 1) for step in block]
    return [block]


def _at(thetas: list[Tensor], ends: list[int]) -> Tensor:
    """The theta [P] that counts; of students side by side [G, P], each one's own."""
    if thetas[0].ndim == 1:
        return thetas[ends[0]]
    return torch.stack([thetas[end][side] for side, end in enumerate(ends)])


def _entered(direction: Tensor, outer: Tensor, ends: list[int], place: int) -> Tensor:
    """lambda at `place`: the students that end here begin their way back with dL/dtheta."""
    here = [end == place for end in ends]
    if all(here):
        return outer
    if not any(here):
        return direction
    return torch.where(torch.tensor(here, device=outer.device).unsqueeze(1), outer, direction)


def _add_rows(total: Tensor, rows: Tensor, values: Tensor) -> None:
    """Add values [..., n, B, ...] to the rows [..., n, B] of total [..., S, ...], in place."""
    lead = rows.ndim - 2
    if lead:
        side = torch.arange(len(rows), device=rows.device).view(-1, 1, 1)
        rows = rows + total.shape[1] * side
        total = total.flatten(0, 1)
    total.index_add_(0, rows.flatten(), values.flatten(0, lead + 1))
