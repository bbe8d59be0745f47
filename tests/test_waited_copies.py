"""A GPU is kept busy: training loops send it what they draw and wait for none of it."""

import pytest
import torch
from torch import Tensor

from datm.augment import OPERATIONS, draw_augmentation
from datm.baselines import DSAConfig, Task
from datm.baselines.zhao2021dsa import _trained
from datm.data import DataSet
from datm.evaluation.train import Protocol, train_networks
from datm.matching import Student, student_loss
from datm.networks import make_network
from datm.runtime.device import Runtime
from datm.runtime.seeds import generator
from datm.teaching.school import Course, Learner, School
from small_jobs import TEACH
from waited_copies import WaitedCopies

EVERY = "_".join(OPERATIONS)
NETWORK = make_network("convnet-1,width=4", (3, 8, 8), 5)
STUDENT = Student(student_loss(NETWORK))


def on_device(*shape: int) -> Tensor:
    return torch.empty(shape, device="meta")


@pytest.mark.parametrize("operation", OPERATIONS)
def test_augmentation(operation: str) -> None:
    with WaitedCopies() as waited:
        draw_augmentation(operation, 6, generator(0))(on_device(6, 3, 8, 8))
    assert waited.count == 0


def test_copies_that_are_waited_for_are_counted() -> None:
    with WaitedCopies() as waited:
        torch.ones(3).to("meta", torch.float64)
        torch.ones(3).to("meta", non_blocking=True)
        torch.ones(3).to(torch.float64)
    assert waited.count == 1


def test_training_networks_waits_before_the_first_step_only() -> None:
    sets = [(on_device(20, 3, 8, 8), on_device(20, 5))] * 2
    counts = []
    for epochs in (1, 6):
        protocol = Protocol(learning_rate=0.1, epochs=epochs, batch=7, augmentation=EVERY)
        with WaitedCopies() as waited:
            train_networks(NETWORK, STUDENT, sets, protocol, [0, 1])
        counts.append(waited.count)
    assert counts == [1, 1]


def test_teaching_waits_at_the_end_of_an_epoch_only(digits: DataSet) -> None:
    network = make_network(TEACH.network, digits.shape, 10)
    school = School(digits, network, TEACH, Runtime(device="meta"))
    learners = [Learner(number, number) for number in range(2)]
    params = torch.stack([school.initial(learner) for learner in learners])
    epochs = school.epochs(params, 0, learners, Course(1, school.shuffled()))
    with WaitedCopies() as waited, pytest.raises(NotImplementedError, match="no data"):
        next(epochs)  # to where the losses are read
    assert waited.count == 0


def test_the_network_of_dsa_is_trained_without_waiting() -> None:
    images, logits = on_device(20, 3, 8, 8), on_device(20, 5)
    task = Task(NETWORK, images, logits, 5, torch.arange(20), EVERY, 0)
    params, config = on_device(NETWORK.layout.total), DSAConfig(network_batch=7)
    with WaitedCopies() as waited:
        _trained(task, STUDENT, params, (images, logits), config, 2, ("here",))
    assert waited.count == 0
