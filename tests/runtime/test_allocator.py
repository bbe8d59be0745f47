"""Freed memory is kept: a large tensor made again costs no page faults."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from datm.runtime.allocator import HUGE_PAGES

FAULTS = """
import resource, sys
import torch
from datm.runtime.allocator import keep_freed_memory
print(keep_freed_memory())
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        torch.zeros(int(sys.argv[1]) // 4)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(faults())
"""


GLIBC = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="other C libraries have no such settings"
)


def output(program: str, *arguments: object, **environment: str) -> list[str]:
    """What a program prints where no one has chosen how pages are made but `environment`."""
    unset = {name: value for name, value in os.environ.items() if name != HUGE_PAGES}
    result = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        env={**unset, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return result.stdout.split()


def run(size: int, **environment: str) -> list[str]:
    """What `FAULTS` prints: whether memory is kept, and page faults for 4 times `size` bytes."""
    return output(FAULTS, size, **environment)


@GLIBC
def test_large_tensors_reuse_memory_unless_the_user_chose_otherwise() -> None:
    kept, faults = run(10**8)
    assert kept == "True"
    assert int(faults) < 1000
    kept, faults = run(10**8, MALLOC_TRIM_THRESHOLD_="131072")
    assert kept == "False"
    assert int(faults) > 10_000


@GLIBC
def test_gigabytes_are_kept_too() -> None:
    kept, faults = run(3_200_000_000)
    assert kept == "True"
    assert int(faults) < 1000


HUGE = """
import sys
import torch
from datm.runtime.allocator import use_huge_pages
use_huge_pages()
tensor = torch.ones(10**8 // 4)
rollup = open("/proc/self/smaps_rollup").read().split()
print(rollup[rollup.index("AnonHugePages:") + 1])
"""
SWITCH = Path("/sys/kernel/mm/transparent_hugepage/enabled")


@pytest.mark.skipif(
    not SWITCH.exists() or "[madvise]" not in SWITCH.read_text(),
    reason="this kernel gives huge pages to everyone or to no one",
)
def test_large_tensors_lie_in_huge_pages_unless_the_user_chose_otherwise() -> None:
    [kilobytes] = output(HUGE)
    assert int(kilobytes) > 50_000
    [kilobytes] = output(HUGE, **{HUGE_PAGES: "0"})
    assert int(kilobytes) < 50_000
