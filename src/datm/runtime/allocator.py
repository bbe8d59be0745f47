"""Memory for large tensors: kept for the next one instead of given back, and in huge pages.

glibc maps every block above a few tens of megabytes anew and unmaps it when freed, so that each
large temporary is paged in again, zeroed, at every inner step. And where the kernel gives huge
pages to those who ask only, PyTorch does so if it is told to.
"""

import ctypes
import os
import sys
from functools import cache

M_TRIM_THRESHOLD = -1
M_MMAP_MAX = -4
HUGE_PAGES = "THP_MEM_ALLOC_ENABLE"
"""The variable that PyTorch reads when it makes the first tensor of 2 MiB or more."""
NEVER = -1
"""As M_TRIM_THRESHOLD: the free end of the heap is never given back, however large."""


@cache
def keep_freed_memory() -> bool:
    """Have this process reuse large blocks (Linux with glibc); whether it could be told to.

    Settings that the user made in the environment are left alone.
    """
    if not sys.platform.startswith("linux") or _settings_of_the_user():
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    return bool(mallopt(M_MMAP_MAX, 0)) and bool(mallopt(M_TRIM_THRESHOLD, NEVER))


def use_huge_pages() -> None:
    """Have PyTorch ask for huge pages, where the user has not said otherwise.

    To be called before there is a large tensor in the process; after that it changes nothing.
    """
    os.environ.setdefault(HUGE_PAGES, "1")


def _settings_of_the_user() -> bool:
    names = "MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"
    chosen = any(name in os.environ for name in names)
    return chosen or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", "")
