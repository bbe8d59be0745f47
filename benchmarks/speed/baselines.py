"""The baselines: what the published codes compute, written out plainly for eager PyTorch.

Everything is eager, NCHW (PyTorch's default layout) and in the inputs' own dtype. Nothing here uses
`datm`: parameters are a flat vector in the papers' order, per block conv.weight, conv.bias,
norm.weight, norm.bias, then classifier.weight, classifier.bias.

Shapes: P parameters, S synthetic images, N inner steps, B batch, c channels, K classes.
"""

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

Shapes = list[tuple[int, ...]]
Augment = Callable[[int, Tensor], Tensor]
"""(inner step i, images [B, c, H, W]) -> augmented images; differentiable."""


class Segment(NamedTuple):
    """What is matched: start, target [P]; images [S, c, H, W]; logits [S, K]; batches [N, B]."""

    start: Tensor
    target: Tensor
    images: Tensor
    logits: Tensor
    step_size: Tensor
    batches: Tensor

    def double(self) -> "Segment":
        """The same in float64."""
        return Segment(*(value.double() for value in self[:5]), self.batches)


def error(found: Tensor, true: Tensor) -> float:
    """||found - true|| / ||true||, in float64."""
    return float((found.double() - true.double()).norm() / true.double().norm())


class Gradient(NamedTuple):
    """The matching loss and its gradients by images, label logits and step size."""

    loss: Tensor
    images: Tensor
    logits: Tensor
    step_size: Tensor


def parameter_shapes(depth: int, width: int, channels: int, side: int, classes: int) -> Shapes:
    """Shapes of a ConvNet's parameters for square images, in the order of the flat vector."""
    shapes: Shapes = []
    for block in range(depth):
        shapes += [(width, width if block else channels, 3, 3), (width,), (width,), (width,)]
    return [*shapes, (classes, width * (side >> depth) ** 2), (classes,)]


def views(flat: Tensor, shapes: Shapes) -> list[Tensor]:
    """The parameters as views of the flat vector [P]."""
    parts = torch.split(flat, [math.prod(shape) for shape in shapes])
    return [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]


def scores(parameters: list[Tensor], images: Tensor) -> Tensor:
    """Class scores [B, K]: 3x3 convolution, instance norm, ReLU, 2x2 average pooling; linear."""
    *blocks, weight, bias = parameters
    x = images
    for first in range(0, len(blocks), 4):
        kernel, shift, scale, offset = blocks[first : first + 4]
        x = F.conv2d(x, kernel, shift, padding=1)
        x = F.group_norm(x, x.shape[1], scale, offset)
        x = F.avg_pool2d(F.relu(x), 2)
    return F.linear(x.flatten(1), weight, bias)


def inner_loss(flat: Tensor, shapes: Shapes, images: Tensor, logits: Tensor) -> Tensor:
    """Cross-entropy of the scores against softmax(logits), mean over the batch."""
    return F.cross_entropy(scores(views(flat, shapes), images), logits.softmax(1))


def unrolled(segment: Segment, shapes: Shapes, augment: Augment | None = None) -> Gradient:
    """Autograd through all N steps (Cazenavette 2022, eq. 2; also FTD and DATM)."""
    leaves = [value.detach().requires_grad_() for value in segment[2:5]]
    images, logits, step_size = leaves
    theta = segment.start.detach().requires_grad_()
    for step, rows in enumerate(segment.batches):
        batch = augment(step, images[rows]) if augment else images[rows]
        loss = inner_loss(theta, shapes, batch, logits[rows])
        (gradient,) = torch.autograd.grad(loss, theta, create_graph=True)
        theta = theta - step_size * gradient
    distance = _distance(theta, segment)
    return Gradient(distance.detach(), *torch.autograd.grad(distance, leaves))


def tesla(segment: Segment, shapes: Shapes, augment: Augment | None = None) -> Gradient:
    """Step by step, each theta_i a constant: memory of one step (Cui 2023).

    A forward sweep keeps the parameters. Then, for every step, the inner gradient is made again
    with its graph, and <gradient, dL/dtheta_N> is differentiated: reverse over reverse.
    """
    alpha = segment.step_size
    thetas = [segment.start]
    for step, rows in enumerate(segment.batches):
        theta = thetas[-1].detach().requires_grad_()
        batch = augment(step, segment.images[rows]) if augment else segment.images[rows]
        loss = inner_loss(theta, shapes, batch, segment.logits[rows])
        (gradient,) = torch.autograd.grad(loss, theta)
        thetas.append(theta.detach() - alpha * gradient)
    last = thetas.pop().requires_grad_()
    distance = _distance(last, segment)
    (direction,) = torch.autograd.grad(distance, last)
    leaves = [segment.images.detach().requires_grad_(), segment.logits.detach().requires_grad_()]
    found = [torch.zeros_like(value) for value in segment[2:5]]
    for step, rows in enumerate(segment.batches):
        theta = thetas[step].detach().requires_grad_()
        batch, logits = leaves[0][rows], leaves[1][rows]
        batch = augment(step, batch) if augment else batch
        loss = inner_loss(theta, shapes, batch, logits)
        (gradient,) = torch.autograd.grad(loss, theta, create_graph=True)
        slope = gradient @ direction
        for total, share in zip(found, torch.autograd.grad(slope, leaves), strict=False):
            total -= alpha * share
        found[2] -= slope.detach()
    return Gradient(distance.detach(), *found)


def train(
    flat: Tensor,
    shapes: Shapes,
    batches: Iterable[tuple[Tensor, Tensor]],
    optimiser: Callable[[list[Tensor]], torch.optim.Optimizer],
    drop_at: int | None = None,
) -> Tensor:
    """Parameters [P] after a step of `optimiser` for each (images, targets) of `batches`.

    Targets are class numbers [B] or probabilities [B, K]. Before step `drop_at` the learning rate
    is divided by 10.
    """
    parameters = [view.clone().requires_grad_() for view in views(flat, shapes)]
    steps = optimiser(parameters)
    for step, (images, targets) in enumerate(batches):
        if step == drop_at:
            for group in steps.param_groups:
                group["lr"] *= 0.1
        steps.zero_grad()
        F.cross_entropy(scores(parameters, images), targets).backward()  # type: ignore[no-untyped-call]
        steps.step()
    return torch.cat([parameter.detach().flatten() for parameter in parameters])


def _distance(theta: Tensor, segment: Segment) -> Tensor:
    """||theta - target||^2 / ||start - target||^2."""
    moved = (segment.start - segment.target).square().sum()
    return (theta - segment.target).square().sum() / moved
