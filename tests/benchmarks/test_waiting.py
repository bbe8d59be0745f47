"""What is timed on a GPU waits for no copy of what was drawn, as `datm` itself does not."""

import torch
from speed.cases import Case
from speed.matching import drawn
from speed.training import batches

from waited_copies import WaitedCopies

CASE = Case("iteration", batch=4, steps=3, small=True)


def test_augmentation_is_on_the_device_before_the_clock_starts() -> None:
    augment = drawn(CASE, "meta")
    with WaitedCopies() as waited:
        for step in range(CASE.steps):
            augment(step, torch.empty(4, 3, 8, 8, device="meta"))
    assert augment.uniforms.shape == (3, 4, 3)
    assert augment.uniforms.is_meta
    assert waited.count == 0


def test_training_steps() -> None:
    images, labels = torch.empty(20, 3, 8, 8, device="meta"), torch.empty(20, 5, device="meta")
    with WaitedCopies() as waited:
        assert len(list(batches(images, labels, 7, 4))) == 4
    assert waited.count == 0
