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

    def alone(*arguments: Any) -> Any:
        return function(*arguments)

    # The compiler counts a function's versions (one for each shape) by its code and refuses too
    # many: with a code of its own, other closures of the same source do not count.
    alone.__code__ = alone.__code__.replace()
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, 32)
    return torch.compile(alone, dynamic=False, fullgraph=True)
