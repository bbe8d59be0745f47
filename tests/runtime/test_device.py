"""Device, precision and memory of a run."""

from collections.abc import Iterator

import pytest
import torch
from pydantic import ValidationError

from datm.errors import InputError
from datm.runtime.device import Precision, Runtime


def test_auto_is_cuda_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert Runtime().torch_device().type == expected
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert Runtime().torch_device() == torch.device("cpu")
    assert Runtime(device="cpu").torch_device() == torch.device("cpu")


@pytest.mark.parametrize("device", ["cuda:99", "tpu", "", "cpu:x"])
def test_devices_that_do_not_exist_are_refused(device: str) -> None:
    with pytest.raises(InputError) as refused:
        Runtime(device=device).torch_device()
    remedy = "is not available here; use 'cpu' or 'auto'."
    assert str(refused.value) == f"device: {device!r} {remedy}"


def test_tf32_is_refused_on_a_cpu() -> None:
    with pytest.raises(
        InputError, match="tf32 is arithmetic of NVIDIA GPUs, and the device is cpu"
    ):
        Runtime(device="cpu", precision="tf32").torch_device()


@pytest.fixture
def _tf32_switches() -> Iterator[None]:
    switches = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [switch.allow_tf32 for switch in switches]
    yield
    for switch, value in zip(switches, before, strict=True):
        switch.allow_tf32 = value


@pytest.mark.usefixtures("_tf32_switches")
@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
def test_tf32_on_a_gpu_is_used_where_asked_for_only(
    precision: Precision, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PyTorch's own default lets convolutions use it."""
    switches = torch.backends.cuda.matmul, torch.backends.cudnn
    for switch in switches:
        switch.allow_tf32 = precision != "tf32"
    monkeypatch.setattr(torch, "empty", lambda *_, **__: None)  # as if there were a GPU
    Runtime(device="cuda", precision=precision).torch_device()
    assert [switch.allow_tf32 for switch in switches] == [precision == "tf32"] * 2


def test_other_precisions_are_refused() -> None:
    with pytest.raises(ValidationError, match="precision"):
        Runtime(precision="float16")
