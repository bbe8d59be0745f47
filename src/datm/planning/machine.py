"""What this machine has left: memory within every limit that holds for this process, and disk."""

import os
import shutil
from pathlib import Path

import torch

ROOT = Path("/")
NEW = "sys/fs/cgroup"  # where control groups are: all in one tree, or memory in one of its own
OLD = "sys/fs/cgroup/memory"


def available_memory(root: Path = ROOT) -> int | None:
    """Bytes that this process may still take, caches that would be given up included.

    The smallest of what the kernel has and what is left of the limits of its control groups, as
    containers have them. None where nothing is known (no Linux). `root` is where proc and sys are.
    """
    known = [_kernel(root), *_control_groups(root)]
    found = [value for value in known if value is not None]
    return min(found) if found else None


def free_disk(folder: Path) -> int:
    """Free bytes on the file system that `folder` is on, or would be."""
    return shutil.disk_usage(existing(folder)).free


def existing(folder: Path) -> Path:
    """`folder`, or the nearest folder above it that is there."""
    folder = folder.absolute()
    return next(place for place in (folder, *folder.parents) if place.exists())


def bytes_in(folder: Path) -> int:
    """Bytes of all files below `folder`; 0 where it does not exist."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def available_device(device: torch.device) -> int | None:
    """Free bytes on a CUDA device; None for a CPU, whose memory is the host's."""
    if device.type != "cuda":
        return None
    free, _ = torch.cuda.mem_get_info(device)
    return int(free)


def _kernel(root: Path) -> int | None:
    found = _fields(root / "proc" / "meminfo").get("MemAvailable")
    if found is not None:
        return found * 1024
    if root == ROOT and not (root / "proc").exists():
        try:
            return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        except (AttributeError, OSError, ValueError):
            return None  # not a POSIX system
    return None


def _control_groups(root: Path) -> list[int]:
    """What is left of the limit of each control group that this process is in."""
    left = []
    for line in _text(root / "proc" / "self" / "cgroup").splitlines():
        _, kinds, path = (*line.split(":", 2), "", "")[:3]
        if not kinds:
            tree, limit, used = root / NEW, "memory.max", "memory.current"
        elif "memory" in kinds.split(","):
            tree, limit, used = root / OLD, "memory.limit_in_bytes", "memory.usage_in_bytes"
        else:
            continue
        # In a container the path may be the host's: then the container's own limit is at the top.
        place = tree / path.strip("/")
        while True:
            most, now = _number(place / limit), _number(place / used)
            if most is not None and now is not None:
                cache = _fields(place / "memory.stat")
                reclaimable = cache.get("total_inactive_file", cache.get("inactive_file", 0))
                left.append(max(0, most - now + reclaimable))
            if place == tree:
                break
            place = place.parent
    return left


def _fields(path: Path) -> dict[str, int]:
    """The 'name number' or 'name: number kB' lines of a file of the kernel's."""
    lines = (line.replace(":", " ").split() for line in _text(path).splitlines())
    return {parts[0]: int(parts[1]) for parts in lines if len(parts) > 1 and parts[1].isdigit()}


def _number(path: Path) -> int | None:
    """The number in a file, None where there is none ('max': no limit)."""
    text = _text(path).strip()
    return int(text) if text.isdigit() else None


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
