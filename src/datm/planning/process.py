"""What this process holds in memory: now, and at most."""

import contextlib
import ctypes
import re
import sys
from pathlib import Path

import torch


class Memory:
    """What this process holds on the device, and the most it held since the last `reset`."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def reset(self) -> int:
        """Forget the peak; bytes held now, with what is free given back."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)
            return int(torch.cuda.memory_reserved(self.device))
        held = resident(trimmed=True)
        # No Linux, or not allowed: then the peak is that of the whole process.
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # the peak becomes what is held now
        return held

    def peak(self) -> int:
        if self.device.type == "cuda":
            # Not what is allocated: the memory of CUDA graphs is kept between calls.
            return int(torch.cuda.max_memory_reserved(self.device))
        return highest()


def resident(trimmed: bool = False) -> int:
    """Bytes of this process in memory; `trimmed`: once free blocks have been given back."""
    if trimmed:
        # Another C library than glibc has no such function.
        with contextlib.suppress(AttributeError, OSError, TypeError):
            ctypes.CDLL(None).malloc_trim(0)
    return _status("VmRSS")


def highest() -> int:
    """The most bytes of this process that were in memory, since it began or since a `reset`."""
    return _status("VmHWM")


def _status(name: str) -> int:
    try:
        text = Path("/proc/self/status").read_text()
    except OSError:
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    return int(re.findall(rf"{name}:\s+(\d+) kB", text)[0]) * 1024
