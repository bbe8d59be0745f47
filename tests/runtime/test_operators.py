"""The two ways of computing 3x3 convolutions against PyTorch's in float64."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from operators import TOLERANCE, draw, error, needs_compiler
from torch import Tensor

from datm.runtime import patches, winograd

pytestmark = needs_compiler

WAYS: dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor], Callable[..., Tensor]]] = {
    "winograd": (
        lambda x, weight, padding: winograd.convolve(x, weight, padding, False),
        lambda by_output, weight, padding: winograd.convolve(by_output, weight, 2 - padding, True),
        winograd.weight_gradient,
    ),
    "patches": (patches.convolve, patches.input_gradient, patches.weight_gradient),
}
SHAPES = [
    # B, C, K, H, W, padding
    (1, 1, 1, 3, 3, 1),
    (2, 3, 16, 8, 8, 1),
    (5, 3, 32, 32, 32, 1),
    (3, 19, 33, 7, 10, 1),
    (2, 40, 24, 5, 4, 0),
    (2, 16, 17, 6, 9, 2),
    (26, 8, 8, 16, 16, 1),
    (2, 1, 16, 28, 28, 3),
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_all_three_products_of_a_convolution(shape: tuple[int, ...], way: str) -> None:
    convolve, input_gradient, weight_gradient = WAYS[way]
    b, c, k, h, w, padding = shape
    x, weight = draw(b, c, h, w), draw(k, c, 3, 3)
    expected = F.conv2d(x.double(), weight.double(), padding=padding)
    assert error(convolve(x, weight, padding), expected) < TOLERANCE
    by_output = draw(*expected.shape)
    by_x, by_weight, _ = torch.ops.aten.convolution_backward(
        by_output.double(),
        x.double(),
        weight.double(),
        None,
        [1, 1],
        [padding, padding],
        [1, 1],
        False,
        [0, 0],
        1,
        [True, True, False],
    )
    assert error(input_gradient(by_output, weight, padding), by_x) < TOLERANCE
    assert error(weight_gradient(x, by_output, padding), by_weight) < TOLERANCE


@pytest.mark.parametrize("way", WAYS)
def test_one_weight_moves_the_image(way: str) -> None:
    """A kernel that is 1 at one of its nine places shifts every channel by so much."""
    x = draw(1, 2, 9, 6)
    for row in range(3):
        for column in range(3):
            weight = torch.zeros(2, 2, 3, 3)
            weight[0, 0, row, column] = weight[1, 1, row, column] = 1
            moved = F.pad(x, (1, 1, 1, 1))[..., row : row + 9, column : column + 6]
            assert torch.allclose(WAYS[way][0](x, weight, 1), moved, atol=1e-5)


@pytest.mark.parametrize("way", WAYS)
def test_the_number_of_threads_changes_nothing_but_the_order_of_sums(way: str) -> None:
    convolve, input_gradient, weight_gradient = WAYS[way]
    x, weight, by_output = draw(30, 20, 8, 8), draw(24, 20, 3, 3), draw(30, 24, 8, 8)
    results = []
    before = torch.get_num_threads()
    for threads in (1, 3):
        torch.set_num_threads(threads)
        results.append(
            (
                convolve(x, weight, 1),
                input_gradient(by_output, weight, 1),
                weight_gradient(x, by_output, 1),
            )
        )
    torch.set_num_threads(before)
    one, three = results
    assert torch.equal(one[0], three[0])
    assert torch.equal(one[1], three[1])
    assert error(three[2], one[2].double()) < 5e-6
