"""Device, precision and memory of a run."""

import pytest
import torch
from pydantic import ValidationError

from datm.errors import InputError
from datm.runtime.device import Runtime


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


def test_other_precisions_are_refused() -> None:
    with pytest.raises(ValidationError, match="precision"):
        Runtime(precision="float16")
