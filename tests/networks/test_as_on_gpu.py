"""What is computed otherwise where a GPU is compiled for is the same: tried on a CPU."""

import pytest
import torch
from torch import Tensor

from datm.matching import Student, student_loss
from datm.networks import arithmetic, convnet, make_network
from datm.networks.arithmetic import GPU_CHANNELS, as_gpus_convolve, linear
from datm.runtime.device import Precision
from datm.runtime.native import native
from datm.runtime.seeds import generator

SPECS = [
    "convnet-3,width=32",
    "convnet-2,width=32,norm=group",
    "convnet-2,width=8,norm=batch",
    "convnet-2,width=8,norm=none,pooling=max",
]
ROUNDING = {"float32": 1e-5, "bfloat16": 2e-2}


def derivatives(spec: str, precision: Precision, channels: int) -> list[Tensor]:
    """Every derivative that training and matching are made of."""
    network = make_network(spec, (channels, 16, 16), 5, precision)
    student = Student(student_loss(network))
    draw = generator(0, "as on a GPU")
    params = network.initial(draw)
    images = torch.randn(6, channels, 16, 16, generator=draw)
    logits = torch.randn(6, 5, generator=draw)
    direction = torch.randn(params.shape, generator=draw)
    return [
        *student.gradient(params, images, logits),
        *student.adjoint(params, images, logits, direction),
    ]


@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("spec", SPECS)
def test_derivatives_are_the_same(
    spec: str, precision: Precision, channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = derivatives(spec, precision, channels)
    for module in (arithmetic, convnet):
        monkeypatch.setattr(module, "compiled_for_gpu", lambda x: True)
    # The plain blocks here; those in one pass are tried below.
    found = derivatives(spec, precision, channels)
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours - theirs).norm() <= ROUNDING[precision] * theirs.norm()


@pytest.mark.skipif(native("activations") is None, reason="needs a C++ compiler")
@pytest.mark.parametrize("few", [0, 256], ids=["one by one", "together"])
def test_blocks_in_one_pass_are_the_same(few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Convolved together with their derivatives, or not."""
    expected = derivatives(SPECS[0], "float32", 3)
    monkeypatch.setattr(convnet, "can_activate", lambda *_: True)
    monkeypatch.setattr(convnet, "can_begin", lambda *_: False)
    monkeypatch.setattr(convnet, "FEW_IMAGES", few)
    for module in (arithmetic, convnet):
        monkeypatch.setattr(module, "compiled_for_gpu", lambda x: True)
    found = derivatives(SPECS[0], "float32", 3)
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours - theirs).norm() <= 1e-4 * theirs.norm()


def test_few_channels_are_filled_up_with_zeros() -> None:
    images = torch.randn(2, 3, 4, 4)
    filled = as_gpus_convolve(images)
    assert filled.shape == (2, GPU_CHANNELS, 4, 4)
    assert torch.equal(filled[:, :3], images)
    assert not filled[:, 3:].any()
    assert filled.is_contiguous(memory_format=torch.channels_last)
    many = torch.randn(2, 9, 4, 4)
    assert torch.equal(as_gpus_convolve(many), many)


@pytest.mark.parametrize(("b", "f"), [(3, 64), (3, 50), (700, 64)], ids=["split", "odd", "many"])
def test_split_sums_are_the_sums(b: int, f: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arithmetic, "compiled_for_gpu", lambda x: True)
    monkeypatch.setattr(arithmetic, "FEW_SCORES", 1000)
    draw = generator(0, "linear")
    x, weight, bias = (
        torch.randn(shape, generator=draw, dtype=torch.float64) for shape in ((b, f), (4, f), (4,))
    )
    torch.testing.assert_close(linear(x, weight, bias), x @ weight.t() + bias)
    torch.testing.assert_close(linear(x, weight), x @ weight.t())
