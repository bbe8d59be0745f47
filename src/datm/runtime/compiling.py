"""Compiling the hot functions, with plain eager execution where that is impossible."""

import logging
import shutil
import warnings
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


@cache
def _announce() -> None:
    logger.info("compiling: up to a minute a function the first time here, then seconds")


@cache
def _report(error: str) -> None:
    logger.warning("compiling failed, running uncompiled, which is slower but the same: %s", error)


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` compiled as a whole for each shape it meets, or itself where that cannot be.

    Its first argument is a tensor. On a CPU, convolutions are exchanged (see `exchange`).
    """
    return _Compiled(function) if can_compile() else function


class _Compiled:
    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._fast: Callable[..., Any] | None = None

    def __call__(self, *arguments: Any) -> Any:
        if self._fast is None:
            _announce()
            self._fast = _compile(self._function, arguments[0].is_cuda)
        try:
            return self._fast(*arguments)
        except Exception as error:
            # Takes a second to import.
            from torch._dynamo.exc import FailOnRecompileLimitHit, TorchDynamoException

            # Only the compiler's own failures: an error of the computation is passed on.
            if not isinstance(error, TorchDynamoException | FailOnRecompileLimitHit):
                raise
            _report(" ".join(str(error).split("\n")[:2]))
            self._fast = self._function
            return self._function(*arguments)


def _compile(function: Callable[..., Any], on_gpu: bool) -> Callable[..., Any]:
    def alone(*arguments: Any) -> Any:
        return function(*arguments)

    # The compiler counts a function's versions (one for each shape) by its code and refuses too
    # many: with a code of its own, other closures of the same source do not count.
    alone.__code__ = alone.__code__.replace()
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, 32)
    if on_gpu:
        # It advises to round matrix products, which are float32 here on purpose.
        warnings.filterwarnings("ignore", "TensorFloat32 tensor cores", module="torch._inductor")
    how = {} if on_gpu else _cpu_options()
    return torch.compile(alone, dynamic=False, fullgraph=True, **how)


@cache
def _cpu_options() -> dict[str, Any]:
    """What torch.compile is told on a CPU: to exchange convolutions.

    That builds on the inside of PyTorch's compiler. Where that has changed, PyTorch's own
    convolutions serve; said once.
    """
    try:
        from datm.runtime.exchange import Exchange  # takes a second to import
    except (ImportError, AttributeError) as error:
        logger.warning(
            "PyTorch %s has another compiler than the one known here, its own convolutions serve,"
            " which is slower but the same: %s",
            torch.__version__,
            error,
        )
        return {}
    return {"options": {"post_grad_custom_pre_pass": Exchange()}}
