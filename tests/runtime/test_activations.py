"""Normalisation, ReLU and pooling in one pass: against plain arithmetic in float64."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from operators import activated, derivatives, draw, errors, images, needs_compiler
from torch import Tensor, fx
from torch._dynamo.backends.common import aot_autograd

from datm.networks import make_network
from datm.runtime.activations import activate, activate_along
from datm.runtime.device import Precision
from datm.runtime.native import native
from datm.runtime.seeds import generator

pytestmark = needs_compiler

SHAPES = [
    # B, C, H, W
    (1, 32, 2, 2),
    (3, 32, 8, 8),
    (2, 96, 7, 9),
    (5, 32, 5, 4),
    (1, 32, 32, 32),
]
TOLERANCE = 5e-6
HALF = 8e-3
"""Of a result's norm, rounded to bfloat16."""


def along(
    x: Tensor, dx: Tensor, weight: Tensor, dweight: Tensor, bias: Tensor, dbias: Tensor
) -> tuple[Tensor, Tensor]:
    y, dy = torch.func.jvp(activated, (x, weight, bias), (dx, dweight, dbias))
    return y, dy


def parameters(shape: tuple[int, ...], dtype: torch.dtype) -> list[Tensor]:
    """x, weight, bias of `activate`."""
    return [images(*shape, dtype=dtype), draw(shape[1]), 0.3 * draw(shape[1], 1)[:, 0]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_forward_and_backward(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    arguments = parameters(shape, dtype)
    rounded = dtype == torch.bfloat16
    found = derivatives(lambda *given: (activate(*given, rounded),), arguments)
    expected = derivatives(
        lambda *given: (activated(*given),), [argument.double() for argument in arguments]
    )
    assert [result.dtype for result in (*found[0], *found[1][:1])] == [dtype] * 2
    assert errors(found, expected) < (HALF if rounded else TOLERANCE)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_along_a_direction(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    """dx moves more than a pixel's own channel, so that every sum over pixels counts."""
    x, weight, bias = parameters(shape, dtype)
    dx = images(shape[0] + 1, *shape[1:], dtype=dtype)[1:]
    arguments = [x, dx, weight, draw(shape[1], 2)[:, 0], bias, draw(shape[1], 3)[:, 0]]
    rounded = dtype == torch.bfloat16
    found = derivatives(lambda *given: activate_along(*given, rounded), arguments)
    expected = derivatives(along, [argument.double() for argument in arguments])
    assert errors(found, expected) < (3 * HALF if rounded else 2 * TOLERANCE)


def test_forward_mode_goes_along_too() -> None:
    x, weight, bias = parameters((3, 32, 8, 8), torch.float32)
    dx, dbias = images(4, 32, 8, 8)[1:], draw(32, 3)[:, 0]

    def of(x: Tensor, bias: Tensor) -> Tensor:
        return activate(x, weight, bias)

    found = torch.func.jvp(of, (x, bias), (dx, dbias))
    expected = activate_along(x, dx, weight, torch.zeros(32), bias, dbias)
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))


def test_a_second_way_back_is_refused() -> None:
    x, weight, bias = parameters((1, 32, 2, 2), torch.float32)
    x.requires_grad_()
    (by_x,) = torch.autograd.grad(activate(x, weight, bias).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once only"):
        torch.autograd.grad(by_x.sum(), x)


def test_what_is_rounded_is_rounded_to_nearest() -> None:
    x, weight, bias = parameters((4, 32, 8, 8), torch.bfloat16)
    assert torch.equal(activate(x, weight, bias, True), activate(x, weight, bias).bfloat16())


def test_what_has_nothing_to_round_is_not_rounded() -> None:
    x, weight, bias = parameters((4, 32, 8, 8), torch.float32)
    assert torch.equal(activate(x, weight, bias, True), activate(x, weight, bias))


@pytest.mark.parametrize("x", [draw(2, 32, 4, 4).double(), draw(2, 48, 4, 4)])
def test_what_cannot_be_taken_is_refused(x: Tensor) -> None:
    with pytest.raises(ValueError, match="multiple of 32"):
        activate(x, torch.ones(x.shape[1]), torch.zeros(x.shape[1]))


def test_a_flat_image_gives_the_bias() -> None:
    """Epsilon keeps the variance of nothing from becoming a division by zero."""
    x = torch.full((2, 32, 4, 4), 3.0)
    y = activate(x, torch.ones(32), torch.linspace(-1, 1, 32))
    expected = torch.linspace(-1, 1, 32).relu().view(1, -1, 1, 1).expand(2, 32, 2, 2)
    assert torch.allclose(y, expected, atol=1e-3)  # 3 / sqrt(epsilon), twice, and rounded


@pytest.mark.parametrize("rounded", [False, True])
def test_what_is_no_number_stays_none(rounded: bool) -> None:
    x, weight, bias = parameters((2, 32, 4, 4), torch.bfloat16 if rounded else torch.float32)
    x[1, 5, 0, 0] = torch.nan
    spoilt = torch.zeros(2, 32, dtype=torch.bool)
    spoilt[1, 5] = True
    by_x = derivatives(lambda *given: (activate(*given, rounded),), [x, weight, bias])[1][0]
    for result in (activate(x, weight, bias, rounded), by_x):
        assert torch.equal(result.isnan().flatten(2).all(2), spoilt)
        assert torch.equal(result.isnan().flatten(2).any(2), spoilt)


def test_the_number_of_threads_changes_nothing() -> None:
    arguments = parameters((5, 32, 6, 6), torch.float32)
    results = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        results.append(derivatives(lambda *given: (activate(*given),), arguments))
    torch.set_num_threads(1)
    for one, three in zip(results[0][1], results[1][1], strict=True):
        assert torch.equal(one, three)


def test_side_by_side_equals_one_by_one() -> None:
    x, weight, bias = parameters((6, 32, 4, 4), torch.float32)
    several = x.view(2, 3, 32, 4, 4), torch.stack([weight, 2 * weight])

    def gradient(x: Tensor, weight: Tensor) -> Tensor:
        def loss(x: Tensor, weight: Tensor) -> Tensor:
            return activate(x, weight, bias).square().sum()

        return torch.func.grad(loss)(x, weight)

    found = torch.func.vmap(gradient)(*several)
    one_by_one = [gradient(*each) for each in zip(*several, strict=True)]
    assert torch.equal(found, torch.stack(one_by_one))


Backend = Callable[[fx.GraphModule, list[Tensor]], fx.GraphModule]


def scores(spec: str, backend: Backend, dtype: torch.dtype = torch.float32) -> None:
    """Compiles a network's scores."""
    network = make_network(spec, (3, 8, 8), 4)
    params = network.initial(generator(0, "initial")).to(dtype)
    torch.compiler.reset()  # else the versions of networks are too many for it
    with torch.no_grad():
        torch.compile(network, backend=backend, fullgraph=True)(params, draw(2, 3, 8, 8).to(dtype))


def calls(module: fx.GraphModule) -> list[str]:
    """The calls of what is tested here in a graph."""
    names = (getattr(node.target, "__name__", str(node.target)) for node in module.graph.nodes)
    return [name for name in names if "activate" in name]


@pytest.mark.parametrize(
    ("spec", "count"),
    [
        ("width=32", 1),  # behind the second convolution; the first block is `begin`'s
        ("width=48", 0),
        ("norm=batch,width=32", 0),
        ("norm=group,width=32", 0),
        ("pooling=max,width=32", 0),
    ],
)
def test_where_it_serves(spec: str, count: int) -> None:
    found: list[str] = []

    def collect(module: fx.GraphModule, _: object) -> fx.GraphModule:
        found.extend(calls(module))
        return module

    scores(f"convnet-2,{spec}", collect)
    assert len(found) == count
    found.clear()
    scores(f"convnet-2,{spec}", collect, torch.float64)
    assert not found


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_all_derivatives_of_a_compiled_network_are_made_of_it(precision: Precision) -> None:
    network = make_network("convnet-2,width=32", (3, 8, 8), 4, precision)
    params = network.initial(generator(0, "initial"))
    found: list[str] = []

    def collect(module: fx.GraphModule, _: object) -> fx.GraphModule:
        found.extend(calls(module))
        return module

    def both(params: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        def loss(params: Tensor) -> Tensor:
            return network(params, x).square().sum()

        def slope(params: Tensor) -> Tensor:
            return network.derivative(params, x, torch.ones_like(params))[1].square().sum()

        return torch.func.grad(loss)(params), torch.func.grad(slope)(params)

    backend = aot_autograd(fw_compiler=collect)
    torch.compiler.reset()
    with torch.no_grad():
        torch.compile(both, backend=backend, fullgraph=True)(params, draw(2, 3, 8, 8))
    operators = "activate", "activate_backward", "activate_along", "activate_along_backward"
    assert sorted(found) == sorted(f"{name}.default" for name in operators)


@pytest.fixture
def nothing_can_be_built(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    (tmp_path / "taken").write_text("a file where the folder would be")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "taken"))
    native.cache_clear()
    yield
    native.cache_clear()


@pytest.mark.usefixtures("nothing_can_be_built")
def test_without_the_library_plain_arithmetic_serves(caplog: pytest.LogCaptureFixture) -> None:
    test_where_it_serves("width=32", 0)
    assert "activations.cpp could not be compiled" in caplog.text
