"""Compiling: each function by itself, and not at all where there is no compiler."""

import logging
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from compilers import compile_with
from datm.runtime import compiling


@pytest.fixture
def _quick_backend(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """torch.compile up to, and without, the generation of machine code."""
    monkeypatch.setattr(compiling, "can_compile", lambda: True)
    monkeypatch.setattr(torch, "compile", compile_with("eager"))
    yield
    torch._dynamo.reset()


def power(exponent: int) -> Callable[[Tensor], Tensor]:
    def function(x: Tensor) -> Tensor:
        return x**exponent

    return function


@pytest.mark.usefixtures("_quick_backend")
def test_functions_of_one_source_line_do_not_use_up_each_others_versions() -> None:
    """The compiler refuses a 33rd version of one function; 40 functions are no versions."""
    x = torch.tensor([1.0, 2.0])
    for exponent in range(40):
        assert torch.equal(compiling.compiled(power(exponent))(x), x**exponent)


@pytest.mark.usefixtures("_quick_backend")
def test_one_function_meets_many_batch_sizes() -> None:
    square = compiling.compiled(power(2))
    for size in range(1, 30):
        assert torch.equal(square(torch.full((size,), 3.0)), torch.full((size,), 9.0))


@pytest.mark.usefixtures("_quick_backend")
def test_one_function_of_too_many_sizes_goes_on_uncompiled(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """More than the compiler keeps versions of: said once, and the results stay right."""
    compiling._report.cache_clear()
    square = compiling.compiled(power(2))
    with caplog.at_level(logging.WARNING, logger="datm"):
        for size in range(1, 50):
            assert torch.equal(square(torch.full((size,), 3.0)), torch.full((size,), 9.0))
    assert [record.name for record in caplog.records].count("datm") == 1
    assert "running uncompiled" in caplog.text


def test_where_compiling_fails_it_is_said_once_and_the_result_is_the_same(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("the linker is missing")

    monkeypatch.setattr(compiling, "can_compile", lambda: True)
    monkeypatch.setattr(torch, "compile", compile_with(broken))
    compiling._report.cache_clear()
    functions = [compiling.compiled(power(2)), compiling.compiled(power(3))]
    x = torch.tensor([1.0, 2.0])
    with caplog.at_level(logging.WARNING, logger="datm"):
        for _ in range(2):
            assert torch.equal(functions[0](x), x**2)
            assert torch.equal(functions[1](x), x**3)
    assert [record.message.count("the linker is missing") for record in caplog.records] == [1]
    assert "running uncompiled" in caplog.text


@pytest.mark.usefixtures("_quick_backend")
def test_on_a_gpu_the_compiler_does_not_advise_to_round_matrix_products() -> None:
    def warn(text: str) -> None:
        warnings.warn_explicit(text, UserWarning, "compile_fx.py", 1, "torch._inductor.compile_fx")

    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        compiling._compile(power(2), on_gpu=True)
        warn("TensorFloat32 tensor cores for float32 matrix multiplication available but not used")
        warn("something else")
    assert [str(warning.message) for warning in heard] == ["something else"]


@pytest.mark.usefixtures("_quick_backend")
def test_compiling_is_announced_once(caplog: pytest.LogCaptureFixture) -> None:
    compiling._announce.cache_clear()
    with caplog.at_level(logging.INFO, logger="datm"):
        for exponent in (2, 3):
            compiling.compiled(power(exponent))(torch.ones(2))
    assert [record.message for record in caplog.records if "compiling" in record.message] == [
        "compiling: up to a minute a function the first time here, then seconds"
    ]


def test_without_a_compiler_functions_run_as_they_are(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def nothing(name: str, *arguments: Any) -> None:
        return None

    monkeypatch.setattr(shutil, "which", nothing)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    compiling.can_compile.cache_clear()
    try:
        with caplog.at_level(logging.WARNING, logger="datm"):
            functions = [power(2), power(3)]
            assert [compiling.compiled(function) for function in functions] == functions
        assert len(caplog.records) == 1
        assert "g++" in caplog.text
    finally:
        compiling.can_compile.cache_clear()


def test_with_another_compiler_inside_pytorch_its_own_convolutions_serve(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "datm.runtime.exchange", None)  # cannot be imported
    monkeypatch.setattr(compiling, "can_compile", lambda: True)
    monkeypatch.setattr(torch, "compile", compile_with("eager"))
    compiling._cpu_options.cache_clear()
    try:
        with caplog.at_level(logging.WARNING, logger="datm"):
            for exponent in (2, 3):
                x = torch.tensor([1.0, 2.0])
                assert torch.equal(compiling.compiled(power(exponent))(x), x**exponent)
        said = [record.message for record in caplog.records if record.name == "datm"]
        assert len(said) == 1
        assert "its own convolutions serve" in said[0]
    finally:
        compiling._cpu_options.cache_clear()
        torch._dynamo.reset()
