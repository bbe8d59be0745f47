"""Device, precision and memory of a run."""

import os
import platform
import subprocess
import sys

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


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="only glibc's malloc has these settings"
)
@pytest.mark.parametrize(("keep", "kept"), [(True, 128), (False, 0)])
def test_freed_memory_stays_in_the_process(keep: bool, kept: int) -> None:
    """What a process still holds of 128 MiB after freeing them, in MiB."""
    program = f"""
from pathlib import Path
import resource
import torch
from datm.runtime.memory import keep_freed_memory
if {keep}:
    assert keep_freed_memory()
def held():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
before = held()
torch.ones(32 * 2**20)
print((held() - before) / 2**20)
"""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, check=True, capture_output=True, text=True
    )
    assert float(done.stdout) == pytest.approx(kept, abs=20)
