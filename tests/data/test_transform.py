"""Transforms against closed forms and naive oracles.

Shapes: n images, c channels, H height, W width, D = c*H*W.
"""

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor

from datm.data import Transform, fit_transform
from datm.data.whitening import CHUNK, LARGEST, REGULARISER, covariance, zca
from datm.errors import InputError

KINDS = ["none", "normalise", "zca"]


def blurred(n: int, c: int, h: int, w: int, seed: int = 0) -> Tensor:
    """Random images whose neighbouring pixels are correlated, uint8, as real images are."""
    rng = torch.Generator().manual_seed(seed)
    noise = torch.randn(n, c, h + 2, w + 2, generator=rng)
    smooth = torch.nn.functional.avg_pool2d(noise, 3, 1) + torch.randn(n, c, 1, 1, generator=rng)
    return (smooth * 60 + 120).clamp(0, 255).byte()


@pytest.mark.parametrize("kind", KINDS)
def test_the_inverse_gives_the_pixels_back(kind):
    images = blurred(200, 3, 6, 5)
    transform = fit_transform(kind, images)
    x = transform(images)
    assert x.dtype == torch.float32
    assert x.shape == images.shape
    torch.testing.assert_close(transform.inverse(x), images / 255, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_bytes_and_floats_in_unit_range_mean_the_same(kind):
    images = blurred(50, 1, 4, 4)
    transform = fit_transform(kind, images)
    torch.testing.assert_close(transform(images), transform(images.double() / 255))


@pytest.mark.parametrize("kind", KINDS)
def test_saved_and_loaded_it_is_the_same_to_the_bit(kind, tmp_path):
    images = blurred(80, 3, 4, 6)
    fitted = fit_transform(kind, images)
    safetensors.torch.save_file(fitted.tensors(), tmp_path / "t.safetensors")
    loaded = Transform.from_tensors(kind, safetensors.torch.load_file(tmp_path / "t.safetensors"))
    assert torch.equal(loaded.mean, fitted.mean)
    assert torch.equal(loaded.scale, fitted.scale)
    assert torch.equal(loaded(images), fitted(images))
    assert torch.equal(loaded.inverse(fitted(images)), fitted.inverse(fitted(images)))


def test_normalised_pixels_have_mean_0_and_deviation_1_in_each_channel():
    images = blurred(100, 3, 5, 7)
    x = fit_transform("normalise", images)(images).double()
    torch.testing.assert_close(x.mean((0, 2, 3)), torch.zeros(3).double(), atol=1e-6, rtol=0)
    torch.testing.assert_close(
        x.std((0, 2, 3), correction=0), torch.ones(3).double(), atol=1e-6, rtol=0
    )


def test_a_constant_channel_becomes_zero():
    images = blurred(20, 3, 4, 4)
    images[:, 1] = 200
    x = fit_transform("normalise", images)(images)
    torch.testing.assert_close(x[:, 1], torch.zeros_like(x[:, 1]), atol=1e-6, rtol=0)


def test_covariance_equals_numpys():
    images = blurred(CHUNK + 300, 2, 3, 4)
    mean, cov = covariance(images)
    flat = images.flatten(1).numpy().astype(np.float64) / 255
    np.testing.assert_allclose(mean.numpy(), flat.mean(0), rtol=1e-13)
    np.testing.assert_allclose(cov.numpy(), np.cov(flat.T), rtol=1e-10, atol=1e-14)


def test_covariance_does_not_depend_on_the_order_of_images_to_the_bit():
    images = blurred(2 * CHUNK + 100, 1, 4, 4)
    shuffled = images[torch.randperm(len(images), generator=torch.Generator().manual_seed(1))]
    for one, other in zip(covariance(images), covariance(shuffled), strict=True):
        assert torch.equal(one, other)


def test_covariance_of_the_largest_values_is_exact():
    """All-0 and all-255 images are the worst case for sums in float32."""
    images = torch.zeros(4 * CHUNK, 1, 1, 2, dtype=torch.uint8)
    images[: CHUNK + 1] = 255
    share = (CHUNK + 1) / len(images)
    n = len(images)
    expected = torch.full((2, 2), share * (1 - share) * n / (n - 1), dtype=torch.float64)
    torch.testing.assert_close(covariance(images)[1], expected, rtol=1e-14, atol=0)


def test_whitening_matrix_equals_the_textbook_formula():
    """numpy: covariance, eigenvectors, V diag((lambda + 0.1)^-1/2) V^T, in plain loops."""
    images = blurred(300, 1, 3, 3)
    flat = images.flatten(1).numpy().astype(np.float64) / 255
    eigenvalues, vectors = np.linalg.eigh(np.cov(flat.T))
    expected = np.zeros((9, 9))
    for value, vector in zip(eigenvalues, vectors.T, strict=True):
        expected += np.outer(vector, vector) / np.sqrt(value + 0.1)
    np.testing.assert_allclose(zca(images)[1].numpy(), expected, rtol=1e-9, atol=1e-12)


def test_whitened_pixels_have_the_closed_forms_covariance():
    """Along eigenvector i the variance is lambda_i / (lambda_i + 0.1), across them it is 0."""
    images = blurred(2000, 3, 4, 4)
    _, before = covariance(images)
    eigenvalues, vectors = torch.linalg.eigh(before)
    x = fit_transform("zca", images)(images).flatten(1).double()
    after = vectors.T @ torch.cov(x.T) @ vectors
    expected = torch.diag(eigenvalues / (eigenvalues + REGULARISER))
    # The matrix is rounded to float16: 11 bits.
    torch.testing.assert_close(after, expected, atol=2e-3, rtol=0)
    assert eigenvalues.max() > 0.5 > 0.01 > eigenvalues.min()  # there was something to whiten


def test_zca_stores_its_upper_triangle_in_float16():
    transform = fit_transform("zca", blurred(50, 1, 4, 4))
    tensors = transform.tensors()
    assert tensors["whitening"].shape == (16 * 17 // 2,)
    assert tensors["whitening"].dtype == torch.float16
    assert torch.equal(transform.scale, transform.scale.T)
    assert torch.equal(transform.scale, transform.scale.half().float())


def test_gradients_pass_both_ways():
    images = blurred(50, 1, 3, 3)
    for kind in KINDS:
        transform = fit_transform(kind, images)
        x = (images[:2] / 255).requires_grad_()
        (gradient,) = torch.autograd.grad(transform.inverse(transform(x)).sum(), x)
        torch.testing.assert_close(gradient, torch.ones_like(x), atol=1e-4, rtol=0)


def test_moving_keeps_the_inverse():
    images = blurred(50, 1, 3, 3)
    transform = fit_transform("zca", images)
    expected = transform.inverse(transform(images))
    assert torch.equal(transform.to("cpu").inverse(transform(images)), expected)
    assert transform.to("cpu") is transform  # so that nothing is inverted twice


def test_more_values_than_zca_can_take_are_refused():
    with pytest.raises(InputError, match=r"data\.transform: zca .* use transform normalise"):
        fit_transform("zca", torch.zeros(2, 1, 1, LARGEST + 1, dtype=torch.uint8))


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("pca", {}, "'pca' is unknown; one of none, normalise, zca"),
        ("zca", {"whitening": None}, r"transform\.whitening: missing"),
        ("normalise", {"mean": None}, r"transform\.mean: missing"),
        ("zca", {"whitening": torch.zeros(3)}, r"shape \[3\], but 9 means need \[45\]"),
        ("normalise", {"std": torch.ones(2)}, r"shape \[2\], but 1 means need \[1\]"),
    ],
)
def test_damaged_tensors_are_refused(kind, change, message):
    images = blurred(20, 1, 3, 3)
    tensors = fit_transform("zca" if kind == "pca" else kind, images).tensors() | change
    tensors = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    with pytest.raises(InputError, match=message):
        Transform.from_tensors(kind, tensors)
