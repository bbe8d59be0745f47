"""Gradient matching with Siamese augmentation (DSA): Zhao & Bilen, "Dataset Condensation with
Differentiable Siamese Augmentation", ICML 2021; the distance is that of Zhao et al., ICLR 2021.

Images whose gradient is that of the real ones, in a network that is trained on them meanwhile.

Shapes: B real images, S synthetic images, c channels, H height, W width, K classes, P parameters.
"""

import torch
from pydantic import Field
from torch import Tensor

from datm.augment import draw_augmentation
from datm.baselines.task import Siamese, Task, TrainingSet
from datm.batches import BatchStream
from datm.matching import Student
from datm.matching.objective import hard_logits, soft_cross_entropy
from datm.networks.functional import Layout, Network, Statistics
from datm.runtime.logs import Console
from datm.runtime.seeds import generator
from datm.runtime.settings import settings

LOOPS = {1: (1, 1), 10: (10, 50), 20: (20, 25), 30: (30, 20), 40: (40, 15), 50: (50, 10)}
"""Images per class: updates of the images in one network, passes of the network in between."""
STATISTICS_IMAGES = 16  # real images of each class that batch statistics come from
SMALL = 1e-6  # added to the product of two norms, as by the authors


@settings
class DSAConfig:
    """The authors' settings, but for a tenth of their 1,000 networks."""

    iterations: int = Field(default=100, gt=0, description="networks drawn")
    learning_rate: float = Field(default=0.1, gt=0, description="of the pixels")
    momentum: float = Field(default=0.5, ge=0, lt=1, description="of the pixels")
    batch: int = Field(default=256, gt=0, description="real images of each class per update")
    outer: int | None = Field(
        default=None, gt=0, description="updates in one network; default: the authors', by ipc"
    )
    inner: int | None = Field(
        default=None,
        ge=0,
        description="passes of the network over the images between updates; default: the authors'",
    )
    network_learning_rate: float = Field(default=0.01, gt=0, description="of those passes")
    network_batch: int = Field(default=256, gt=0, description="images per step of those passes")

    def loops(self, ipc: int) -> tuple[int, int]:
        """(outer, inner); the authors' are those of the nearest ipc that they give, not above."""
        outer, inner = LOOPS[max(given for given in LOOPS if given <= ipc)]
        own = self.outer, self.inner
        return outer if own[0] is None else own[0], inner if own[1] is None else own[1]


def match_gradients(
    task: Task, config: DSAConfig, ipc: int, student: Student, console: Console
) -> TrainingSet:
    """Synthetic images [S, c, H, W] with hard labels, made from the task's real images.

    `student` holds the loss of the task's network, which is trained by it.
    """
    images, labels = task.first()
    logits = hard_logits(labels, task.classes)
    velocity = torch.zeros_like(images)
    outer, inner = config.loops(ipc)
    console.start("make dsa", config.iterations * outer)
    for iteration in range(config.iterations):
        params = task.network.initial(generator(task.seed, "dsa", "network", iteration))
        params = params.to(images.device)
        for update in range(outer):
            if update:
                path = "dsa", iteration, update
                params = _trained(task, student, params, (images, logits), config, inner, path)
            loss, gradient = gradient_at(task, params, images, config, (iteration, update))
            velocity = config.momentum * velocity + gradient
            images = images - config.learning_rate * velocity
            console.advance(iteration * outer + update + 1, loss=loss)
    console.finish()
    return images, logits


@torch.no_grad()
def gradient_at(
    task: Task, params: Tensor, images: Tensor, config: DSAConfig, number: tuple[int, int]
) -> tuple[float, Tensor]:
    """The distance summed over classes and its gradient [S, c, H, W], in one network."""
    network, total, gradient = task.network, 0.0, torch.zeros_like(images)
    present = [k for k in range(task.classes) if len(task.own_rows[k])]
    mixed = [task.real(k, STATISTICS_IMAGES, "dsa", *number, "statistics") for k in present]
    statistics = network.statistics(params, torch.cat(mixed)) or None
    for k in present:
        augment = task.siamese("dsa", *number, k)
        real = augment(task.real(k, config.batch, "dsa", *number))
        wanted = loss_gradient(network, params, real, k, statistics)
        rows = task.own_rows[k]
        gradient[rows], value = torch.func.grad_and_value(class_distance)(
            images[rows], network, params, augment, k, statistics, wanted
        )
        total += float(value)
    return total, gradient


def class_distance(
    own: Tensor,
    network: Network,
    params: Tensor,
    augment: Siamese,
    label: int,
    statistics: Statistics | None,
    wanted: Tensor,
) -> Tensor:
    """How far the gradient of `own` images [B, c, H, W], augmented, is from `wanted` [P]."""
    found = loss_gradient(network, params, augment(own), label, statistics)
    return gradient_distance(network.layout, found, wanted)


def loss_gradient(
    network: Network, params: Tensor, images: Tensor, label: int, statistics: Statistics | None
) -> Tensor:
    """The gradient [P] of the cross-entropy of `images`, all of class `label`."""

    def loss(params: Tensor) -> Tensor:
        scores = network(params, images, statistics)
        labels = torch.full((len(images),), label, device=images.device)
        return soft_cross_entropy(scores, hard_logits(labels, scores.shape[1]).to(scores.dtype))

    gradient: Tensor = torch.func.grad(loss)(params)
    return gradient


def gradient_distance(layout: Layout, first: Tensor, second: Tensor) -> Tensor:
    """One minus the cosine between the gradients of each output neuron, summed (Zhao 2021, eq. 10).

    Of two gradients [P]. A neuron's are those of its weights; biases and the parameters of
    normalisation, one number a neuron, are left out.
    """
    total = torch.zeros((), dtype=first.dtype, device=first.device)
    for a, b in zip(layout.unflatten(first), layout.unflatten(second), strict=True):
        if a.ndim > 1:
            a, b = a.flatten(1), b.flatten(1)
            cosine = (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1) + SMALL)
            total = total + (1 - cosine).sum()
    return total


@torch.no_grad()
def _trained(
    task: Task,
    student: Student,
    params: Tensor,
    training_set: TrainingSet,
    config: DSAConfig,
    passes: int,
    path: tuple[str | int, ...],
) -> Tensor:
    """`params` after some passes of plain SGD over the synthetic images."""
    images, logits = training_set
    stream = BatchStream(len(images), config.network_batch, task.seed, *path, "order")
    for step in range(passes * stream.steps_per_epoch):
        rows = stream[step].to(images.device, non_blocking=True)
        draw = generator(task.seed, *path, "train", step)
        augment = draw_augmentation(task.augmentation, len(rows), draw)
        gradient, _ = student.gradient(params, augment(images[rows]), logits[rows])
        params = params - config.network_learning_rate * gradient
    return params
