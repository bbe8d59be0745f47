"""The machine under a benchmark: its name, its features, memory, and where results are written."""

import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from datm.runtime.environment import describe_environment

FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_tile")
GIB = 2**30


def describe(device: str, quick: bool = False) -> dict[str, Any]:
    """The environment, with the processor's features and what bfloat16 convolutions run on."""
    threads = torch.get_num_threads()
    return {
        **describe_environment(0),
        "device": device,
        "threads": threads,
        "features": [name for name in FEATURES if name in cpu_flags()],
        "bfloat16_kernel": "" if quick or device == "cuda" else bfloat16_kernel(),
    }


def hardware(environment: dict[str, Any]) -> str:
    """The name of what did the arithmetic: the GPU's or the processor's."""
    gpus = environment["gpus"] if environment.get("device") == "cuda" else []
    return str(gpus[0] if gpus else environment["cpu"])


def result_path(folder: Path, kind: str, environment: dict[str, Any]) -> Path:
    """folder/<kind>_<hardware>_<date> without a suffix: how results are named."""
    name = re.sub(r"\W+", "-", hardware(environment).replace("(R)", "")).lower()
    return folder / f"{kind}_{name}_{datetime.now(UTC):%Y-%m-%d}"


def cpu_flags() -> set[str]:
    """The processor's features as Linux lists them; none elsewhere."""
    try:
        found = re.search(r"^flags\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        return set()
    return set(found[1].split()) if found else set()


def bfloat16_kernel() -> str:
    """The name of the library's kernel for a bfloat16 convolution here, such as one with amx.

    oneDNN says so itself when asked to be verbose; empty where it is not used.
    """
    program = (
        "import torch\n"
        "x = torch.ones(4, 16, 8, 8).bfloat16().contiguous(memory_format=torch.channels_last)\n"
        "torch.nn.functional.conv2d(x, torch.ones(16, 16, 3, 3).bfloat16(), padding=1)\n"
    )
    environment = {**os.environ, "ONEDNN_VERBOSE": "1"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    found = re.search(r"exec,cpu,convolution,([^,]+)", done.stdout)
    return found[1] if found else ""


def free_memory(device: str) -> float:
    """Bytes that are free for programs now, on the device."""
    if device == "cuda":
        return float(torch.cuda.mem_get_info()[0])
    text = Path("/proc/meminfo").read_text()
    return int(re.findall(r"MemAvailable:\s+(\d+)", text)[0]) * 1024.0


class Peak:
    """The most memory held since this was made: of the device, or resident in this process."""

    def __init__(self, device: str) -> None:
        self.device = device
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        self.before = 0.0 if device == "cuda" else _status("VmRSS")

    def bytes(self) -> float:
        """Peak above what was held at first (CPU), or peak allocated by tensors (CUDA)."""
        if self.device == "cuda":
            return float(torch.cuda.max_memory_allocated())
        return _status("VmHWM") - self.before


def _status(name: str) -> float:
    """A figure of this process in bytes. (VmHWM, unlike ru_maxrss, starts anew with a program.)"""
    found = re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024.0
