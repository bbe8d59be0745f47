"""Convolutions inside graphs exchanged for this package's operators, and the operators' library."""

import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from operators import TOLERANCE, draw, error, needs_compiler
from torch import Tensor, fx
from torch._dynamo.backends.common import aot_autograd
from torch.fx.experimental.proxy_tensor import make_fx

from datm.runtime import native as building
from datm.runtime.exchange import Exchange
from datm.runtime.native import call, native


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
@pytest.mark.parametrize("channels", [3, 16])
def test_all_derivatives_of_a_loss_go_through_the_operators(channels: int) -> None:
    """Forward over reverse, as in the adjoint of an inner step: with tangents of both factors."""
    x, weight, bias = draw(2, channels, 8, 8), draw(64, channels, 3, 3), draw(64)
    moves = draw(3, channels, 8, 8)[:2], draw(65, channels, 3, 3)[:64], draw(65)[:64]

    def slope(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return torch.func.jvp(network, (x, weight, bias), moves)[1]

    gradient = torch.func.grad(slope, argnums=(0, 1, 2))
    before, after = [], []

    def exchange(module: fx.GraphModule, _: object) -> fx.GraphModule:
        before.append(count(module))
        Exchange()(module.graph)
        module.graph.lint()
        module.recompile()
        after.append(count(module))
        return module

    backend = aot_autograd(fw_compiler=exchange)
    exchanged = torch.compile(gradient, backend=backend, fullgraph=True, dynamic=False)
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
        (draw(2, 16, 8, 8), draw(3, 16, 3, 3), {}),
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
    Exchange()(module.graph)
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
            Exchange()(module.graph)
    assert count(module) == before
    (record,) = [found for found in caplog.records if found.name == "datm"]
    assert "winograd.cpp could not be compiled" in record.message
    assert "no-such-flag" in record.message


def test_without_a_home_nothing_is_built(
    nothing_built: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(shutil, "which", lambda name: "g++")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", nowhere)
    with caplog.at_level(logging.WARNING, logger="datm"):
        assert native("winograd") is None
    assert "home directory" in caplog.text


def test_without_a_compiler_graphs_stay_as_they_are(
    nothing_built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    module = graph_of(lambda x, w: network(x, w, None), draw(2, 16, 8, 8), draw(16, 16, 3, 3))
    before = count(module)
    Exchange()(module.graph)
    assert count(module) == before


def test_what_was_not_built_is_not_called(
    nothing_built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(RuntimeError, match="winograd is called without having been built"):
        call("winograd", "convolve")
