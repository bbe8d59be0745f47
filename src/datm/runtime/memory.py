"""Keeping freed memory within the process, for loops that allocate the same large tensors again."""

import ctypes
import platform

# glibc's malloc.h
M_TRIM_THRESHOLD = -1
M_MMAP_MAX = -4
LARGEST = 2**31 - 1


def keep_freed_memory() -> bool:
    """Let glibc's malloc reuse large blocks instead of mapping and faulting them anew each time.

    Affects the whole process, so it is for programs (the command line, benchmarks), not for
    importing. Returns whether it was done: only on Linux with glibc.
    """
    if platform.system() != "Linux" or platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(M_MMAP_MAX, 0) and mallopt(M_TRIM_THRESHOLD, LARGEST))
