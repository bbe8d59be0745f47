"""Functions that a GPU repeats by itself: their kernels are recorded once, as a CUDA graph.

A student's step is some dozens of kernels of a few microseconds each, and launching them one by one
takes the host many times as long. Recorded, they are one launch.
"""

import gc
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from datm.runtime.streams import stream_of

logger = logging.getLogger("datm")

MOST_RECORDINGS = 32
"""Of a function. Each has memory for its tensors; further shapes run plainly."""


def on_gpu(tensor: Tensor) -> bool:
    """Whether functions of it can be recorded."""
    return tensor.is_cuda


@cache
def _report(error: str) -> None:
    logger.warning("recording failed, launched one by one, which is slower but the same: %s", error)


def recording_failures() -> int:
    """How many different failures to record were met in this process."""
    return _report.cache_info().currsize


@contextmanager
def _recorded(graph: torch.cuda.CUDAGraph, device: torch.device, pool: Any) -> Iterator[None]:
    """What is launched on `device` in this context becomes `graph`."""
    # PyTorch's own stream for recording is of the device that came first.
    before, own = torch.cuda.current_stream(device), stream_of(device, "recording")
    collects = gc.isenabled()
    gc.collect()
    gc.disable()  # the end of an old graph would end the recording
    try:
        # What other threads do meanwhile, such as pinning memory, is none of its business.
        with torch.cuda.graph(graph, pool, own, capture_error_mode="thread_local"):
            yield
    except BaseException:
        torch.cuda.set_stream(before)  # where the recording fails, PyTorch stays on its stream
        raise
    finally:
        if collects:
            gc.enable()


@cache
def _pool(device: torch.device) -> tuple[Any, torch.cuda.CUDAGraph]:
    """One pool of memory for all recordings, which run one after the other; what keeps it.

    PyTorch refuses to record into a pool whose recordings are all gone: one of them stays.
    """
    pool, keeper = torch.cuda.graph_pool_handle(), torch.cuda.CUDAGraph()
    with _recorded(keeper, device, pool):
        torch.zeros(1, device=device)
    return pool, keeper


def captured(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` of tensors, and of lists and tuples of them, replayed where these are on a GPU.

    The first call of any shapes runs plainly and the second records, so `function` must do the same
    for all tensors of these shapes, and wait for none. What a call returns is overwritten by the
    next call of any captured function, not of this one alone: use or copy it first.
    """
    return _Captured(function)


def kept(results: list[Tensor]) -> list[Tensor]:
    """What a captured function returned, out of reach of the next call."""
    if not on_gpu(results[0]):
        return results
    own = [torch.empty_like(value) for value in results]
    torch._foreach_copy_(own, results)
    return own


@dataclass(frozen=True)
class _Recording:
    graph: torch.cuda.CUDAGraph
    inputs: list[Tensor]
    results: Any

    def __call__(self, given: list[Tensor]) -> Any:
        torch._foreach_copy_(self.inputs, given)
        self.graph.replay()
        return self.results


class _Captured:
    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._recordings: dict[Any, _Recording | None] = {}
        self._plain = False

    def __call__(self, *arguments: Any) -> Any:
        given, form = tree_flatten(arguments)
        if self._plain or not on_gpu(given[0]):
            return self._function(*arguments)
        kinds = tuple((value.shape, value.stride(), value.dtype) for value in given)
        key = str(form), given[0].device, kinds
        if key not in self._recordings:
            if len(self._recordings) >= MOST_RECORDINGS:
                return self._function(*arguments)
            self._recordings[key] = None
            return self._function(*arguments)
        recording = self._recordings[key]
        if recording is None:
            try:
                recording = self._recordings[key] = _record(self._function, given, form)
            except RuntimeError as error:
                if isinstance(error, torch.OutOfMemoryError):
                    raise
                _report(" ".join(str(error).split("\n")[:2]))
                self._plain = True
                return self._function(*arguments)
        return recording(given)


def _record(function: Callable[..., Any], given: list[Tensor], form: Any) -> _Recording:
    inputs = [value.clone() for value in given]  # of the same strides where these are dense
    graph, device = torch.cuda.CUDAGraph(), given[0].device
    pool = _pool(device)[0]
    try:
        with _recorded(graph, device, pool):
            results = function(*tree_unflatten(inputs, form))
    except RuntimeError:
        _pool.cache_clear()  # PyTorch takes the recording into this one for still going on
        raise
    return _Recording(graph, inputs, results)
