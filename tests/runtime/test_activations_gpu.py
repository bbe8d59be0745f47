"""The GPU's kernels against plain arithmetic in float64, by Triton's interpreter on a CPU.

(`tests/evaluation/test_cuda.py` has them on a GPU.)
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from operators import activated, derivatives, draw, errors, images
from torch import Tensor

from datm.runtime import activations

activations_gpu = pytest.importorskip(
    "datm.runtime.activations_gpu", reason="needs triton, which is not installed"
)

SHAPES = [
    # B, C, H, W
    (2, 32, 2, 2),
    (3, 32, 8, 8),
    (1, 32, 12, 6),  # windows that are no power of two
    (1, 32, 32, 32),
]
TOLERANCE = 5e-6
HALF = 8e-3
"""Of a result's norm, rounded to bfloat16."""


@pytest.fixture(autouse=True)
def _by_the_gpus_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """The operators' CPU implementations call these kernels."""

    def call(library: str, function: str, *arguments: Any) -> None:
        tensors = [value for value in arguments if isinstance(value, Tensor)]
        activations_gpu.call(function, tensors[0], *tensors)

    monkeypatch.setattr(activations, "call", call)


def along(
    x: Tensor, dx: Tensor, weight: Tensor, dweight: Tensor, bias: Tensor, dbias: Tensor
) -> tuple[Tensor, Tensor]:
    y, dy = torch.func.jvp(activated, (x, weight, bias), (dx, dweight, dbias))
    return y, dy


def doubled(function: Callable[..., Any], arguments: list[Tensor]) -> Any:
    return derivatives(function, [argument.double() for argument in arguments])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_forward_and_backward(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    arguments = [images(*shape, dtype=dtype), draw(shape[1]), 0.3 * draw(shape[1], 1)[:, 0]]
    rounded = dtype == torch.bfloat16
    found = derivatives(lambda *given: (activations.activate(*given, rounded),), arguments)
    expected = doubled(lambda *given: (activated(*given),), arguments)
    assert errors(found, expected) < (HALF if rounded else TOLERANCE)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_along_a_direction(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    x, weight, bias = images(*shape, dtype=dtype), draw(shape[1]), 0.3 * draw(shape[1], 1)[:, 0]
    dx = images(shape[0] + 1, *shape[1:], dtype=dtype)[1:]
    arguments = [x, dx, weight, draw(shape[1], 2)[:, 0], bias, draw(shape[1], 3)[:, 0]]
    rounded = dtype == torch.bfloat16
    found = derivatives(lambda *given: activations.activate_along(*given, rounded), arguments)
    expected = doubled(along, arguments)
    assert errors(found, expected) < (3 * HALF if rounded else 2 * TOLERANCE)


def test_what_is_no_number_stays_none() -> None:
    x = images(2, 32, 4, 4)
    x[1, 5, 0, 0] = torch.nan
    y = activations.activate(x, draw(32), draw(32))
    spoilt = torch.zeros(2, 32, dtype=torch.bool)
    spoilt[1, 5] = True
    assert torch.equal(y.isnan().flatten(2).all(2), spoilt)
    assert torch.equal(y.isnan().flatten(2).any(2), spoilt)


def test_what_a_gpu_can_take() -> None:
    """Even sides, so that every pixel is in a window, and images that a program can hold."""

    def can(sizes: list[tuple[int, int]]) -> bool:
        x = torch.empty(0, device="meta")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch.compiler, "is_compiling", lambda: True)
            patch.setattr(activations, "is_on_gpu", lambda tensor: True)
            return activations.can_activate(x, 32, sizes)

    assert can([(32, 32), (16, 16), (8, 8)])
    assert not can([(28, 28), (14, 14), (7, 7)])
    assert not can([(64, 64), (32, 32)])
