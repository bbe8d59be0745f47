"""Training steps to be timed: a teacher's on real images, a student's on distilled ones.

Augmentation is on in all of them, with the same draws and the same code for both sides.

Letters: P parameters, B batch, K classes, G teachers or networks side by side.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from datm.augment import OPERATIONS, augmented, draw_augmentation
from datm.batches import BatchStream, training_blocks
from datm.evaluation.train import Protocol, train_networks
from datm.matching import Student, student_loss
from datm.matching.objective import hard_logits
from datm.networks import Network, make_network
from datm.runtime.seeds import generator
from speed import baselines
from speed.cases import Case

Work = Callable[[], object]
STRATEGY = "_".join(OPERATIONS)
RATE = 0.01


def teaching(case: Case, device: str) -> tuple[Work, Work]:
    """N steps of plain SGD on batches of B images with class numbers; the rehearsal has one."""
    network, shapes, start = _network(case, device)
    count = case.batch * case.steps
    images, labels = _images(case, count, device)
    if case.how == "eager":
        return _both(
            case,
            lambda steps: baselines.train(
                start,
                shapes,
                batches(images, labels, case.batch, steps),
                lambda parameters: torch.optim.SGD(parameters, lr=RATE),
            ),
        )
    student = Student(student_loss(network), not case.small)
    logits = hard_logits(labels, case.classes)

    def ours(steps: int) -> Tensor:
        params = start.repeat(case.sides, 1)
        still, stream = torch.zeros_like(params), BatchStream(count, case.batch, 0, "order")
        numbers = case.sides * case.batch * images[0].numel()
        # As in `teaching/school.py`, with the same draws for all teachers.
        for block in training_blocks(range(steps), numbers, params.is_cuda):
            rows = stream.stack(block).to(device, non_blocking=True).repeat(case.sides, 1, 1)
            seen = augmented(STRATEGY, [0] * case.sides, block, images[rows])
            rates = [RATE] * len(block)
            params, _, _ = student.descend(params, still, seen, logits[rows], rates)
        return params

    return _both(case, ours)


def evaluation(case: Case, device: str) -> tuple[Work, Work]:
    """N steps of the papers' protocol on B images (in batches of at most 256), soft labels."""
    network, shapes, start = _network(case, device)
    images, _ = _images(case, case.batch, device)
    logits = torch.randn(case.batch, case.classes, generator=generator(0, "logits")).to(device)
    per_epoch = BatchStream(case.batch, 256, 0, "order").steps_per_epoch
    protocol = Protocol(learning_rate=RATE, epochs=0, augmentation=STRATEGY)
    student = Student(student_loss(network), not case.small)

    def ours(steps: int) -> Tensor:
        longer = Protocol(
            learning_rate=RATE, epochs=max(1, steps // per_epoch), augmentation=STRATEGY
        )
        sets, seeds = [(images, logits)] * case.sides, range(case.sides)
        return train_networks(network, student, sets, longer, seeds)

    def eager(steps: int) -> Tensor:
        return baselines.train(
            start,
            shapes,
            batches(images, logits.softmax(1), 256, steps),
            lambda parameters: torch.optim.SGD(
                parameters, RATE, protocol.momentum, weight_decay=protocol.weight_decay
            ),
            drop_at=(steps + 1) // 2,
        )

    return _both(case, eager if case.how == "eager" else ours)


def batches(
    images: Tensor, targets: Tensor, batch: int, steps: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Augmented images and targets of each step, in the order that `train_network` takes."""
    stream = BatchStream(len(images), batch, 0, "order")
    for step in range(steps):
        rows = stream[step].to(images.device, non_blocking=True)
        augment = draw_augmentation(STRATEGY, len(rows), generator(0, "augment", step))
        yield augment(images[rows]), targets[rows]


def _both(case: Case, train: Callable[[int], Tensor]) -> tuple[Work, Work]:
    return lambda: train(1), lambda: train(case.steps)


def _network(case: Case, device: str) -> tuple[Network, baselines.Shapes, Tensor]:
    depth, width, side = case.geometry
    spec = f"convnet-{depth},width={width}"
    network = make_network(spec, (3, side, side), case.classes, case.precision)
    shapes = baselines.parameter_shapes(depth, width, 3, side, case.classes)
    return network, shapes, network.initial(generator(0, "initial")).to(device)


def _images(case: Case, count: int, device: str) -> tuple[Tensor, Tensor]:
    """Random images, and class numbers for them."""
    side = case.geometry[2]
    draw = generator(0, "images")
    images = torch.randn(count, 3, side, side, generator=draw)
    return images.to(device), torch.randint(case.classes, (count,), generator=draw).to(device)
