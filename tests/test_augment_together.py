"""Steps and students that are augmented together: each as it would be by itself."""

from dataclasses import replace

import torch

from datm.augment import OPERATIONS, Augmentations, SideBySide, draw_augmentation
from datm.runtime.seeds import generator


def test_a_block_of_steps_is_each_step_by_itself() -> None:
    """Values and pull-back; operations repeat, and the block begins in the middle."""
    draw = generator(0, "block")
    steps = [draw_augmentation("_".join(OPERATIONS), 3, draw) for _ in range(12)]
    assert len({step.operation for step in steps}) < len(steps)
    whole = Augmentations.of(steps)
    images = torch.rand(9, 3, 2, 8, 6, dtype=torch.float64, requires_grad=True)
    block, each = whole.block(2, images), [whole(2 + k, images[k]) for k in range(9)]
    torch.testing.assert_close(block, torch.stack(each))
    direction = torch.rand_like(block)
    pulled = [
        torch.autograd.grad(result, images, direction)[0] for result in (block, torch.stack(each))
    ]
    torch.testing.assert_close(*pulled)


def test_students_side_by_side_have_their_own_draws() -> None:
    sides = [
        Augmentations.of([draw_augmentation("flip_colour_cutout", 3, generator(0, g))] * 4)
        for g in range(3)
    ]
    images = torch.rand(3, 2, 3, 1, 8, 8, dtype=torch.float64)
    beside = SideBySide(tuple(sides))
    expected = torch.stack([side.block(1, own) for side, own in zip(sides, images, strict=True)])
    torch.testing.assert_close(beside.block(1, images), expected)
    torch.testing.assert_close(beside(1, images[:, 0]), expected[:, 0])


def test_flipped_steps_are_the_steps_of_flipped_images() -> None:
    """By step, as a block, and beside students that are not flipped."""
    draw = generator(0, "flipped")
    plain = Augmentations.of([draw_augmentation("_".join(OPERATIONS), 3, draw) for _ in range(6)])
    flipped = replace(plain, flipped=True)
    images = torch.rand(4, 3, 2, 8, 6, dtype=torch.float64)
    expected = plain.block(1, images.flip(-1))
    torch.testing.assert_close(flipped.block(1, images), expected)
    torch.testing.assert_close(flipped(3, images[2]), expected[2])
    assert not torch.allclose(plain.block(1, images), expected)
    beside, twice = SideBySide((plain, flipped)), torch.stack([images, images])
    both = torch.stack([plain.block(1, images), expected])
    torch.testing.assert_close(beside.block(1, twice), both)
    torch.testing.assert_close(beside(2, twice[:, 1]), both[:, 1])
