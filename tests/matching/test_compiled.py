"""A compiled student against the eager one.

To 1e-5 in float32: a compiler may sum in another order, and does nothing else.
"""

import shutil
from dataclasses import replace

import pytest
import torch
from matching_problems import differences, random_segment
from torch import Tensor

from compilers import compile_with
from datm.matching import Student, soft_cross_entropy, student_loss
from datm.runtime import compiling

TOLERANCE = 1e-5
needs_compiler = pytest.mark.skipif(
    not shutil.which("g++"), reason="compiling needs g++, which is not installed"
)


@needs_compiler
def test_compiled_equals_eager() -> None:
    segment = random_segment(1, 3, 4).to(torch.float32)

    def linear(params: Tensor, images: Tensor, logits: Tensor) -> Tensor:
        inputs = images.flatten(1)[:, :20]
        return soft_cross_entropy(inputs @ params[:80].view(20, 4), logits)

    segment = replace(segment, loss=linear)
    student = Student(linear, compile=True)
    found = differences(segment.match("exact", loss=student), segment.match("exact"))
    assert max(found.values()) < TOLERANCE, found


@pytest.mark.parametrize(
    "spec",
    [
        "convnet-1,width=4",
        "convnet-1,width=32",
        "convnet-1,width=4,norm=group,pooling=max",
        "convnet-1,width=4,norm=batch",
    ],
)
def test_the_compiler_takes_convnets_whole(spec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Traced and differentiated as for compiling, then run without machine code of its own."""
    monkeypatch.setattr(compiling, "can_compile", lambda: True)
    monkeypatch.setattr(torch, "compile", compile_with("aot_eager"))
    segment = random_segment(1, 3, 4, spec=spec).to(torch.float32)
    student = Student(segment.loss, compile=True)
    for method in ("exact", "tesla"):
        found = differences(segment.match(method, loss=student), segment.match(method))
        assert max(found.values()) < TOLERANCE, found


@pytest.mark.parametrize("spec", ["convnet-2,width=6", "convnet-1,width=32"])
def test_the_compiler_takes_a_decoupled_loss_whole(
    spec: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiling, "can_compile", lambda: True)
    monkeypatch.setattr(torch, "compile", compile_with("aot_eager"))
    segment = random_segment(1, 3, 4, spec=spec).to(torch.float32)
    prior = torch.tensor([0.7, 0.1, 0.15, 0.05]).log()
    loss = student_loss(segment.loss.network, prior, decoupled=True)
    student = Student(loss, compile=True)
    found = differences(segment.match("exact", loss=student), segment.match("exact", loss=loss))
    assert max(found.values()) < TOLERANCE, found


@pytest.mark.slow
@needs_compiler
def test_compiled_with_fewer_products_equals_eager() -> None:
    """Convolutions of 16 channels and more: Winograd's, whose rounding errors are larger."""
    segment = random_segment(1, 3, 4, spec="convnet-2,width=16").to(torch.float32)
    student = Student(segment.loss, compile=True)
    found = differences(segment.match("exact", loss=student), segment.match("exact"))
    assert max(found.values()) < 1e-4, found


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize(
    "options",
    ["norm=instance", "norm=batch", "norm=group", "norm=layer", "norm=none", "pooling=max"],
)
def test_compiled_convnets_equal_eager_ones(options: str) -> None:
    segment = random_segment(1, 3, 4, spec=f"convnet-2,width=8,{options}").to(torch.float32)
    student = Student(segment.loss, compile=True)
    found = differences(segment.match("exact", loss=student), segment.match("exact"))
    assert max(found.values()) < TOLERANCE, found
