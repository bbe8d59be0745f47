"""A flipped segment is that of a teacher with flipped weights: a symmetry of convolutions."""

from dataclasses import replace

import torch
from matching_problems import CLASSES, SHAPE, SMALL, random_segment
from torch import Tensor

from datm.networks import make_network


def flipped(params: Tensor) -> Tensor:
    """Every kernel [out, in, 3, 3] and every class's map [c, h, w] of the last layer, flipped."""
    *blocks, weight, bias = make_network(SMALL, SHAPE, CLASSES).layout.unflatten(params)
    turned = [block.flip(-1) if block.ndim == 4 else block for block in blocks]
    turned += [weight.view(CLASSES, 6, 2, 2).flip(-1), bias]
    return torch.cat([part.flatten() for part in turned])


def test_flipped_images_or_flipped_weights() -> None:
    """Loss and all gradients, by the images before they are flipped."""
    problem = random_segment(0, steps=3, batch=4, strategy="none")
    by_images = replace(problem, augment=replace(problem.augment, flipped=True))
    by_weights = replace(problem, start=flipped(problem.start), target=flipped(problem.target))
    found, expected = by_images.match("exact"), by_weights.match("exact")
    for name in ("loss", "images_grad", "logits_grad", "step_size_grad"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name))
    torch.testing.assert_close(flipped(found.student), expected.student)
    assert not torch.allclose(found.images_grad, problem.match("exact").images_grad)
