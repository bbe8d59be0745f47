"""Device, precision and memory of a run."""

from collections.abc import Callable, Iterator
from dataclasses import replace

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


@pytest.mark.parametrize(
    ("has", "expected"),
    [
        ({"avx512_bf16": True, "amx_bf16": False}, "float32"),
        ({"avx512_bf16": True, "amx_bf16": True}, "bfloat16"),
        ({"avx512_bf16": False, "amx_bf16": False, "avx2": True}, "float32"),
        ({"architecture": "aarch64"}, "float32"),
    ],
)
def test_auto_is_bfloat16_where_a_cpu_has_amx(
    has: dict[str, object], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has)
    auto = Runtime(device="cpu", precision="auto")
    assert auto.arithmetic == expected
    assert auto.settled() == replace(auto, precision=expected)
    assert Runtime(device="cpu").arithmetic == "float32"
    assert Runtime(device="cpu", precision="bfloat16").settled().precision == "bfloat16"


@pytest.mark.usefixtures("_as_if_on_a_gpu")
@pytest.mark.parametrize(("has", "expected"), [(True, "bfloat16"), (False, "float32")])
def test_auto_is_bfloat16_on_a_gpu_that_has_it(
    has: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Emulated arithmetic, which PyTorch counts where it is not told otherwise, is none."""

    def supported(including_emulation: bool = True) -> bool:
        return has or including_emulation

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert Runtime(device="cuda", precision="auto").arithmetic == expected


@pytest.fixture
def _as_if_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A device "cuda" seems to be there; PyTorch's own settings are put back at the end."""
    monkeypatch.setattr(torch, "empty", lambda *_, **__: None)
    yield
    torch.backends.fp32_precision = "none"
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = True


def nothing_set() -> None:
    """PyTorch's own default lets convolutions use TF32."""


def all_by_the_old_switches() -> None:
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.allow_tf32 = True


def all_by_the_new_setting() -> None:
    torch.backends.fp32_precision = "tf32"


def none_by_the_new_setting() -> None:
    torch.backends.cudnn.conv.fp32_precision = "ieee"
    torch.backends.cuda.matmul.fp32_precision = "ieee"


@pytest.mark.usefixtures("_as_if_on_a_gpu")
@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
@pytest.mark.parametrize(
    "before",
    [nothing_set, all_by_the_old_switches, all_by_the_new_setting, none_by_the_new_setting],
)
def test_tf32_is_for_convolutions_and_where_asked_for(
    before: Callable[[], None], precision: Precision
) -> None:
    """Whatever was set before, and in words that both of PyTorch's interfaces can read."""
    before()
    Runtime(device="cuda", precision=precision).torch_device()
    rounded = precision == "tf32"
    assert torch.backends.cudnn.conv.fp32_precision == ("tf32" if rounded else "ieee")
    assert torch.backends.cudnn.allow_tf32 is rounded
    assert torch.backends.cuda.matmul.fp32_precision == "ieee"
    assert torch.backends.cuda.matmul.allow_tf32 is False
    with torch.backends.cudnn.flags(enabled=True):  # reads all of them
        pass


@pytest.mark.usefixtures("_as_if_on_a_gpu")
@pytest.mark.parametrize(("device", "made"), [("cuda:1", [1]), ("cuda", [])])
def test_the_gpu_asked_for_is_the_present_one(
    device: str, made: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Graphs are recorded on the present one, wherever their tensors are."""
    set_devices: list[int] = []
    monkeypatch.setattr(torch.cuda, "set_device", set_devices.append)
    assert Runtime(device=device).torch_device() == torch.device(device)
    assert set_devices == made


def test_other_precisions_are_refused() -> None:
    with pytest.raises(ValidationError, match="precision"):
        Runtime(precision="float16")
