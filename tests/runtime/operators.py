"""What tests of the operators share."""

import shutil
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from datm.networks.arithmetic import group_moments, normalise
from datm.runtime.seeds import generator

TOLERANCE = 2e-5
"""Of a result's norm, in float32: Winograd's constants, up to 8, cost about a digit."""

needs_compiler = pytest.mark.skipif(
    not shutil.which("g++"), reason="these operators need g++, which is not installed"
)


def draw(*shape: int) -> Tensor:
    return torch.randn(shape, generator=generator(0, *map(str, shape)))


def error(found: Tensor, expected: Tensor) -> float:
    assert found.shape == expected.shape
    found, expected = found.detach(), expected.detach()
    return float((found - expected).norm() / expected.norm())


def activated(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Instance normalisation, ReLU and average pooling in plain arithmetic."""
    each = (1, -1, 1, 1)
    moments = group_moments(x, x.shape[1])
    z = normalise(x, *moments, weight.view(each), bias.view(each), 1e-5)
    return F.avg_pool2d(z.relu(), 2)


def images(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """With a mean and a standard deviation that are neither 0 nor 1."""
    drawn = (0.7 + 1.3 * draw(*shape)).to(dtype)
    return drawn.contiguous(memory_format=torch.channels_last)


def derivatives(
    function: Callable[..., tuple[Tensor, ...]], arguments: list[Tensor]
) -> tuple[list[Tensor], list[Tensor]]:
    """Results, and derivatives by the arguments of a random sum of them."""
    leaves = [argument.detach().clone().requires_grad_() for argument in arguments]
    results = list(function(*leaves))
    weights = [draw(*result.shape, i)[..., 0] for i, result in enumerate(results, 1)]
    total = sum((w * r).sum() for w, r in zip(weights, results, strict=True))
    return results, list(torch.autograd.grad(total, leaves))


def errors(
    found: tuple[list[Tensor], list[Tensor]], expected: tuple[list[Tensor], list[Tensor]]
) -> float:
    pairs = zip([*found[0], *found[1]], [*expected[0], *expected[1]], strict=True)
    return max(error(*pair) for pair in pairs)
