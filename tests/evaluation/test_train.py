"""Training one network on soft labels against torch.optim, and the sets of real images.

Shapes: n images, K classes.
"""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from datm.augment import draw_augmentation
from datm.batches import BatchStream
from datm.data import DataSet
from datm.evaluation import Protocol, random_real, train_network
from datm.matching import Student, student_loss
from datm.matching.objective import hard_logits
from datm.networks import ConvNet, make_network
from datm.runtime.seeds import generator
from small_jobs import AUGMENTATION, flat, reference_module

PROTOCOL = Protocol(
    learning_rate=0.1, epochs=4, batch=30, weight_decay=0.01, augmentation=AUGMENTATION
)


def by_torch(
    network: ConvNet, images: Tensor, logits: Tensor, protocol: Protocol, seed: int
) -> Tensor:
    """The same training by torch.optim.SGD and MultiStepLR."""
    module = reference_module(network, network.initial(generator(seed, "initial")))
    optimiser = torch.optim.SGD(
        module.parameters(),
        lr=protocol.learning_rate,
        momentum=protocol.momentum,
        weight_decay=protocol.weight_decay,
    )
    stream = BatchStream(len(images), protocol.batch, seed, "order")
    steps = protocol.epochs * stream.steps_per_epoch
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, [-(-steps // 2)], gamma=0.1)
    for step in range(steps):
        rows = stream[step]
        draw = generator(seed, "augment", step)
        augment = draw_augmentation(protocol.augmentation, len(rows), draw)
        scores = module(augment(images[rows]))
        loss = nn.functional.cross_entropy(scores, logits[rows].softmax(1))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return flat(module)


@pytest.mark.parametrize(
    ("network", "changes"),
    [
        ("convnet-1,width=4", {}),
        ("convnet-2,width=4", {"epochs": 5, "batch": 1000}),
        ("convnet-1,width=4", {"momentum": 0.0, "weight_decay": 0.0, "augmentation": "none"}),
        ("convnet-1,width=4,norm=batch", {"batch": 33}),
    ],
)
@pytest.mark.parametrize("labels", ["soft", "hard"])
def test_training_is_what_torch_optim_makes_of_the_same_batches(
    digits: DataSet, network: str, changes: dict[str, float], labels: str
) -> None:
    protocol = replace(PROTOCOL, **changes)
    made = make_network(network, digits.shape, 10)
    assert isinstance(made, ConvNet)
    images = digits.transform(digits.train.images)
    logits = hard_logits(digits.train.labels, 10)
    if labels == "soft":
        logits = logits / 5e3 + torch.randn(logits.shape, generator=generator(0))
    found = train_network(made, Student(student_loss(made)), images, logits, protocol, 11)
    expected = by_torch(made, images, logits, protocol, 11)
    start = made.initial(generator(11, "initial"))
    assert (found - start).norm() > 0.1
    torch.testing.assert_close(found, expected, rtol=2e-3, atol=2e-5)


@pytest.mark.parametrize(
    ("count", "batch", "epochs", "steps"),
    [
        (100, 30, 4, 12),
        (100, 256, 7, 7),
        (10, 256, 1000, 1000),
        (100, 40, 3, 6),
        (50000, 256, 2, 390),
    ],
)
def test_steps_are_whole_batches(count: int, batch: int, epochs: int, steps: int) -> None:
    protocol = replace(PROTOCOL, batch=batch, epochs=epochs)
    described = protocol.describe(count)
    assert described["steps"] == protocol.steps(count) == steps
    assert described["batch"] == min(batch, count)


def test_seeds_decide(digits: DataSet) -> None:
    network = make_network("convnet-1,width=4", digits.shape, 10)
    student = Student(student_loss(network))
    images, logits = digits.transform(digits.train.images), hard_logits(digits.train.labels, 10)
    made = [train_network(network, student, images, logits, PROTOCOL, seed) for seed in (1, 1, 2)]
    assert torch.equal(made[0], made[1])
    assert (made[0] - made[2]).norm() > 0.1


def test_random_real_images_are_drawn_per_class_without_repetition(digits: DataSet) -> None:
    labels = digits.train.labels
    drawn = [random_real(labels, 10, 3, seed) for seed in range(30)]
    for rows in drawn:
        assert labels[rows].tolist() == [k for k in range(10) for _ in range(3)]
        assert rows.unique().numel() == 30
    assert torch.cat(drawn).unique().numel() == 100
    assert len({tuple(sorted(rows.tolist())) for rows in drawn}) == 30
    assert torch.equal(random_real(labels, 10, 3, 5), drawn[5])
    few = labels[labels != 3]
    assert len(random_real(few, 10, 3, 0)) == 27  # an empty class adds nothing
    assert len(random_real(labels, 10, 99, 0)) == 100
