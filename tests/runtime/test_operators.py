"""The two ways of computing 3x3 convolutions against PyTorch's in float64."""

import pytest
import torch
import torch.nn.functional as F
from operators import TOLERANCE, draw, error, needs_compiler

from datm.runtime.convolutions import FEW_CHANNELS, WINOGRAD, Way

pytestmark = needs_compiler

WAYS = pytest.mark.parametrize("way", [WINOGRAD, FEW_CHANNELS], ids=lambda way: way.name)
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


@WAYS
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_all_three_products_of_a_convolution(shape: tuple[int, ...], way: Way) -> None:
    b, c, k, h, w, padding = shape
    x, weight = draw(b, c, h, w), draw(k, c, 3, 3)
    expected = F.conv2d(x.double(), weight.double(), padding=padding)
    assert error(way.convolve(x, weight, padding), expected) < TOLERANCE
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
    assert error(way.input_gradient(by_output, weight, padding), by_x) < TOLERANCE
    assert error(way.weight_gradient(x, by_output, padding), by_weight) < TOLERANCE


@WAYS
def test_one_weight_moves_the_image(way: Way) -> None:
    """A kernel that is 1 at one of its nine places shifts every channel by so much."""
    x = draw(1, 2, 9, 6)
    for row in range(3):
        for column in range(3):
            weight = torch.zeros(2, 2, 3, 3)
            weight[0, 0, row, column] = weight[1, 1, row, column] = 1
            moved = F.pad(x, (1, 1, 1, 1))[..., row : row + 9, column : column + 6]
            assert torch.allclose(way.convolve(x, weight, 1), moved, atol=1e-5)


@WAYS
def test_the_number_of_threads_changes_nothing_but_the_order_of_sums(way: Way) -> None:
    x, weight, by_output = draw(30, 20, 8, 8), draw(24, 20, 3, 3), draw(30, 24, 8, 8)
    results = []
    before = torch.get_num_threads()
    for threads in (1, 3):
        torch.set_num_threads(threads)
        results.append(
            (
                way.convolve(x, weight, 1),
                way.input_gradient(by_output, weight, 1),
                way.weight_gradient(x, by_output, 1),
            )
        )
    torch.set_num_threads(before)
    one, three = results
    assert torch.equal(one[0], three[0])
    assert torch.equal(one[1], three[1])
    assert error(three[2], one[2].double()) < 5e-6
