"""What tests of the operators share."""

import shutil

import pytest
import torch
from torch import Tensor

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
