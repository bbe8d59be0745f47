"""Compiling the hot functions, with plain eager execution where that is impossible."""

import logging
import shutil
from collections.abc import Callable
from functools import cache
from typing import Any

import torch

logger = logging.getLogger("datm")


@cache
def can_compile() -> bool:
    """Whether this machine can compile: a CPU needs a C++ compiler. Says so once if not."""
    if torch.cuda.is_available() or shutil.which("g++") or shutil.which("clang++"):
        return True
    logger.warning("no C++ compiler (g++) found: running uncompiled, which is slower but the same.")
    return False


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` compiled as a whole for each shape it meets, or itself where that cannot be."""
    if not can_compile():
        return function
    # A teacher, its evaluation and the inner steps share code but not batch sizes.
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, 32)
    return torch.compile(function, dynamic=False, fullgraph=True)
