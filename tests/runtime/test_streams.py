"""Who waits for whom where students run at the same time. A stand-in keeps the account.

(`tests/evaluation/test_cuda.py` runs on real streams.)
"""

from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from datm.runtime import streams
from datm.runtime.streams import at_once


class Stream:
    """Knows what is done on it, and what that comes after."""

    current: "Stream"

    def __init__(self, device: object = None) -> None:
        self.done: set[str] = set()

    def wait_stream(self, other: "Stream") -> None:
        self.done |= other.done


@pytest.fixture
def main_stream(monkeypatch: pytest.MonkeyPatch) -> Stream:
    main = Stream.current = Stream()

    @contextmanager
    def on(stream: Stream) -> Any:
        before, Stream.current = Stream.current, stream
        yield
        Stream.current = before

    for name, value in (("Stream", Stream), ("stream", on)):
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Stream.current)
    streams.stream_of.cache_clear()
    yield main
    streams.stream_of.cache_clear()


def test_each_comes_after_what_was_before_and_before_what_comes_after(main_stream: Stream) -> None:
    place = SimpleNamespace(device="cuda:0")
    seen: dict[str, set[str]] = {}
    used: dict[str, Stream] = {}

    def work(_: object, name: str) -> str:
        stream = used[name] = Stream.current
        seen[name] = set(stream.done)
        stream.done.add(name)
        return name

    main_stream.done.add("before")
    assert at_once(work, [(place, "a"), (place, "b")]) == ["a", "b"]
    assert seen == {"a": {"before"}, "b": {"before"}}  # of one another they know nothing
    assert main_stream.done == {"before", "a", "b"}
    assert Stream.current is main_stream
    first = dict(used)
    assert at_once(work, [(place, "c"), (place, "d"), (place, "e")]) == ["c", "d", "e"]
    assert seen["d"] == {"before", "a", "b"}
    assert main_stream.done == {"before", "a", "b", "c", "d", "e"}
    assert [used["c"], used["d"]] == [first["a"], first["b"]]  # the same streams again
    assert len({id(used[name]) for name in "cde"} | {id(main_stream)}) == 4
