"""Convolutions of few channels as products of patches, against F.conv2d in float64."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from datm.networks.patches import COLUMNS, convolve_patches, patches
from datm.runtime.seeds import generator

SHAPES = [
    # B, C, H, W, padding
    (3, 3, 8, 8, 1),
    (2, 1, 28, 28, 3),
    (2, 2, 5, 7, 1),
    (1, 3, 2, 2, 1),
]
OUTPUTS = 6


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=generator(seed, "patches"), dtype=torch.float64)


def convolved(images: Tensor, kernel: Tensor, padding: int) -> Tensor:
    size = [side + 2 * padding - 2 for side in images.shape[-2:]]
    return convolve_patches(patches(images, padding, images.dtype), kernel, (size[0], size[1]))


@pytest.mark.parametrize(("b", "c", "h", "w", "padding"), SHAPES)
def test_values_and_both_gradients(b: int, c: int, h: int, w: int, padding: int) -> None:
    images, kernel = draw(b, c, h, w).requires_grad_(), draw(OUTPUTS, c, 3, 3, seed=1)
    kernel.requires_grad_()
    found, expected = convolved(images, kernel, padding), F.conv2d(images, kernel, padding=padding)
    torch.testing.assert_close(found, expected)
    assert found.is_contiguous(memory_format=torch.channels_last)
    outer = draw(*expected.shape, seed=2)
    own = torch.autograd.grad(found, (images, kernel), outer)
    torch.testing.assert_close(own, torch.autograd.grad(expected, (images, kernel), outer))


def test_two_convolutions_share_their_patches() -> None:
    """As with a kernel and its direction: the images' gradient is that of both."""
    images, kernels = draw(2, 3, 6, 6).requires_grad_(), draw(2, OUTPUTS, 3, 3, 3, seed=1)
    rows = patches(images, 1, images.dtype)
    found = sum(convolve_patches(rows, kernel, (6, 6)).sin().sum() for kernel in kernels)
    expected = sum(F.conv2d(images, kernel, padding=1).sin().sum() for kernel in kernels)
    (by_images,) = torch.autograd.grad(found, images)
    torch.testing.assert_close(by_images, torch.autograd.grad(expected, images)[0])


def test_rows_are_patches_and_zeros() -> None:
    images = draw(2, 3, 4, 5)
    rows = patches(images, 1, torch.float64)
    assert rows.shape == (2, 20, COLUMNS)
    unfolded = F.unfold(images, 3, padding=1).transpose(1, 2)
    assert torch.equal(rows[..., :27], unfolded)
    assert not rows[..., 27:].any()


def test_rows_are_rounded_and_the_gradient_by_images_is_not() -> None:
    images = draw(2, 3, 4, 4).float().requires_grad_()
    rows = patches(images, 1, torch.bfloat16)
    assert torch.equal(rows, patches(images, 1, torch.float32).bfloat16())
    (by_images,) = torch.autograd.grad(rows, images, torch.full_like(rows, 1 / 3))
    # An inner pixel stands in nine patches; a ninth of bfloat16's third, nine times.
    assert by_images.dtype == torch.float32
    third = torch.tensor(1 / 3).bfloat16().float()
    assert by_images[0, 0, 1, 1] == pytest.approx(9 * third.item(), rel=1e-6)


def test_side_by_side_equals_one_by_one() -> None:
    images, kernel = draw(3, 2, 3, 6, 6), draw(OUTPUTS, 3, 3, 3, seed=1)

    def gradient(images: Tensor) -> Tensor:
        return torch.func.grad(lambda own: convolved(own, kernel, 1).sin().sum())(images)

    together = torch.func.vmap(gradient)(images)
    torch.testing.assert_close(together, torch.stack([gradient(own) for own in images]))
