"""3x3 convolutions with fewer products against PyTorch's in float64, alone and inside graphs.

To 2e-5 of the result's norm: the transforms' constants, up to 8, cost about a digit of float32.
"""

import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx
from torch._dynamo.backends.common import aot_autograd
from torch.fx.experimental.proxy_tensor import make_fx

from datm.runtime import native as building
from datm.runtime.native import native
from datm.runtime.seeds import generator
from datm.runtime.winograd import Winograd, convolve, weight_gradient

TOLERANCE = 2e-5
aten = torch.ops.aten
needs_compiler = pytest.mark.skipif(
    not shutil.which("g++"), reason="these operators need g++, which is not installed"
)


def draw(*shape: int) -> Tensor:
    return torch.randn(shape, generator=generator(0, *map(str, shape)))


def error(found: Tensor, expected: Tensor) -> float:
    assert found.shape == expected.shape
    return float((found - expected).norm() / expected.norm())


SHAPES = [
    # B, C, K, H, W, padding
    (1, 1, 1, 3, 3, 1),
    (2, 3, 16, 8, 8, 1),
    (3, 19, 33, 7, 10, 1),
    (2, 40, 24, 5, 4, 0),
    (2, 16, 17, 6, 9, 2),
    (26, 8, 8, 16, 16, 1),
]


@needs_compiler
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_all_three_products_of_a_convolution(shape: tuple[int, ...]) -> None:
    b, c, k, h, w, padding = shape
    x, weight = draw(b, c, h, w), draw(k, c, 3, 3)
    expected = F.conv2d(x.double(), weight.double(), padding=padding)
    assert error(convolve(x, weight, padding, False), expected) < TOLERANCE
    by_output = draw(*expected.shape)
    by_x, by_weight, _ = aten.convolution_backward(
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
    assert error(convolve(by_output, weight, 2 - padding, True), by_x) < TOLERANCE
    assert error(weight_gradient(x, by_output, padding), by_weight) < TOLERANCE


@needs_compiler
def test_one_weight_moves_the_image() -> None:
    """A kernel that is 1 at one of its nine places shifts every channel by so much."""
    x = draw(1, 2, 9, 6)
    for row in range(3):
        for column in range(3):
            weight = torch.zeros(2, 2, 3, 3)
            weight[0, 0, row, column] = weight[1, 1, row, column] = 1
            moved = F.pad(x, (1, 1, 1, 1))[..., row : row + 9, column : column + 6]
            assert torch.allclose(convolve(x, weight, 1, False), moved, atol=1e-5)


@needs_compiler
def test_the_number_of_threads_changes_nothing_but_the_order_of_sums() -> None:
    x, weight, by_output = draw(30, 20, 8, 8), draw(24, 20, 3, 3), draw(30, 24, 8, 8)
    results = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        results.append((convolve(x, weight, 1, False), weight_gradient(x, by_output, 1)))
    torch.set_num_threads(1)
    assert torch.equal(results[0][0], results[1][0])
    assert error(results[1][1], results[0][1].double()) < 5e-6


def network(x: Tensor, weight: Tensor, bias: Tensor | None, **how: int) -> Tensor:
    how.setdefault("padding", 1)
    return F.conv2d(x, weight, bias, **how).square().sum()  # type: ignore[arg-type]


def graph_of(function: Callable[..., object], *arguments: Tensor) -> fx.GraphModule:
    """The function as the compiler's pass is given it."""
    return make_fx(function, tracing_mode="fake")(*arguments)


def count(module: fx.GraphModule) -> dict[str, int]:
    targets = [str(node.target) for node in module.graph.nodes if node.op == "call_function"]
    return {
        "PyTorch's": sum("aten.convolution" in target for target in targets),
        "ours": sum("datm." in target for target in targets),
    }


@needs_compiler
def test_all_derivatives_of_a_loss_go_through_the_operators() -> None:
    """Forward over reverse, as in the adjoint of an inner step: with tangents of both factors."""
    x, weight, bias = draw(2, 16, 8, 8), draw(32, 16, 3, 3), draw(32)
    moves = draw(3, 16, 8, 8)[:2], draw(33, 16, 3, 3)[:32], draw(33)[:32]

    def slope(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return torch.func.jvp(network, (x, weight, bias), moves)[1]

    gradient = torch.func.grad(slope, argnums=(0, 1, 2))
    before, after = [], []

    def exchange(module: fx.GraphModule, _: object) -> fx.GraphModule:
        before.append(count(module))
        Winograd()(module.graph)
        module.graph.lint()
        module.recompile()
        after.append(count(module))
        return module

    exchanged = torch.compile(gradient, backend=aot_autograd(fw_compiler=exchange), fullgraph=True)
    with torch.no_grad():
        found = exchanged(x, weight, bias)
    assert before[0]["PyTorch's"] >= 3
    assert before[0]["ours"] == after[0]["PyTorch's"] == 0
    assert after[0]["ours"] >= before[0]["PyTorch's"]
    doubles = [value.double() for value in moves]

    def exact(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return torch.func.jvp(network, (x, weight, bias), tuple(doubles))[1]

    expected = torch.func.grad(exact, argnums=(0, 1, 2))(x.double(), weight.double(), bias.double())
    assert [error(*pair) < TOLERANCE for pair in zip(found, expected, strict=True)] == [True] * 3


@needs_compiler
@pytest.mark.parametrize(
    ("x", "weight", "how"),
    [
        (draw(2, 16, 8, 8), draw(16, 16, 3, 3), {"stride": 2}),
        (draw(2, 16, 8, 8), draw(16, 16, 3, 3), {"dilation": 2}),
        (draw(2, 32, 8, 8), draw(32, 16, 3, 3), {"groups": 2}),
        (draw(2, 16, 8, 8), draw(16, 16, 1, 1), {}),
        (draw(2, 3, 8, 8), draw(16, 3, 3, 3), {}),
        (draw(2, 16, 5, 5), draw(16, 16, 3, 3), {}),
        (draw(2, 16, 8, 8).double(), draw(16, 16, 3, 3).double(), {}),
        (draw(2, 16, 8, 8).bfloat16(), draw(16, 16, 3, 3).bfloat16(), {}),
    ],
    ids=["stride", "dilation", "groups", "1x1", "few", "overhanging", "float64", "bfloat16"],
)
def test_other_convolutions_stay(x: Tensor, weight: Tensor, how: dict[str, int]) -> None:
    def gradient(x: Tensor, weight: Tensor) -> Tensor:
        def loss(x: Tensor, weight: Tensor) -> Tensor:
            return network(x, weight, None, **how)

        return torch.func.grad(loss, argnums=(0, 1))(x, weight)

    module = graph_of(gradient, x, weight)
    before = count(module)
    Winograd()(module.graph)
    assert count(module) == before


@pytest.fixture
def nothing_built(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    native.cache_clear()
    yield tmp_path
    native.cache_clear()


@needs_compiler
def test_the_library_is_built_once_into_the_cache_folder(nothing_built: Path) -> None:
    assert native("winograd") is not None
    (built,) = (nothing_built / "datm").iterdir()
    assert built.suffix == ".so"
    made = built.stat().st_mtime_ns
    native.cache_clear()
    assert native("winograd") is not None
    assert built.stat().st_mtime_ns == made


@needs_compiler
def test_where_it_cannot_be_built_pytorchs_kernels_serve_and_it_is_said_once(
    nothing_built: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(building, "FLAGS", ("--no-such-flag",))
    module = graph_of(lambda x, w: network(x, w, None), draw(2, 16, 8, 8), draw(16, 16, 3, 3))
    before = count(module)
    with caplog.at_level(logging.WARNING, logger="datm"):
        for _ in range(2):
            Winograd()(module.graph)
    assert count(module) == before
    (record,) = [found for found in caplog.records if found.name == "datm"]
    assert "winograd.cpp could not be compiled" in record.message
    assert "no-such-flag" in record.message


def test_without_a_compiler_graphs_stay_as_they_are(
    nothing_built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    module = graph_of(lambda x, w: network(x, w, None), draw(2, 16, 8, 8), draw(16, 16, 3, 3))
    before = count(module)
    Winograd()(module.graph)
    assert count(module) == before
