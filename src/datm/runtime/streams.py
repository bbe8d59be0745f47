"""Work that one GPU does at the same time.

A small student's kernels fill a part of a GPU, and each waits for the one before it. On streams of
their own, several students' run in between one another.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch


@cache
def stream_of(device: torch.device, name: int | str) -> torch.cuda.Stream:
    """The same one at every call: its memory is used again, and libraries have their working space
    on it before anything is recorded."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


def at_once(function: Callable[..., Any], each: Sequence[Sequence[Any]]) -> list[Any]:
    """`function` of every one of `each`, whose first arguments are on one GPU: a stream for each.

    What comes after the call waits for all of them. While a CUDA graph is recorded they become
    branches of it.
    """
    device = each[0][0].device
    before = torch.cuda.current_stream(device)
    streams = [stream_of(device, number) for number in range(len(each))]
    found = []
    for stream, arguments in zip(streams, each, strict=True):
        stream.wait_stream(before)
        with torch.cuda.stream(stream):
            found.append(function(*arguments))
    for stream in streams:
        before.wait_stream(stream)
    return found
