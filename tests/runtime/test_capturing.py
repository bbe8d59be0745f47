"""Recording and replaying: what is kept, what is copied and what is said. A stand-in records.
(`tests/evaluation/test_cuda.py` has the real one.)"""

import gc
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_structure

from datm.runtime import capturing
from datm.runtime.capturing import captured, kept, recording_failures
from recordings import record_with_a_stand_in


@pytest.fixture
def _on_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    record_with_a_stand_in(monkeypatch)


def scaled(calls: list[int]) -> Callable[..., Any]:
    def function(x: Tensor, others: list[Tensor]) -> tuple[Tensor, Tensor]:
        calls.append(1)
        return 2 * x, sum(others, start=x)

    return function


@pytest.mark.usefixtures("_on_gpu")
def test_every_call_has_its_own_datas_results() -> None:
    function = captured(scaled([]))
    for turn in range(5):
        x, others = torch.full((3,), float(turn)), [torch.ones(3), torch.full((3,), 10.0 * turn)]
        double, total = function(x, others)
        assert torch.equal(double, 2 * x)
        assert torch.equal(total, x + 1 + 10 * turn)


@pytest.mark.usefixtures("_on_gpu")
def test_the_next_call_overwrites_and_what_is_kept_stays() -> None:
    function = captured(lambda x: [x + 1])
    for value in (0.0, 0.0):
        function(torch.full((2,), value))
    first = function(torch.full((2,), 5.0))
    own = kept(first)
    assert function(torch.full((2,), 7.0))[0] is first[0]
    assert first[0].tolist() == [8, 8]
    assert own[0].tolist() == [6, 6]


@pytest.mark.usefixtures("_on_gpu")
@pytest.mark.parametrize(
    "other",
    [torch.ones(4), torch.ones(3, dtype=torch.float64), torch.ones(6)[::2]],
    ids=["size", "type", "strides"],
)
def test_other_tensors_are_another_recording(other: Tensor) -> None:
    function = captured(lambda x: 2 * x)
    for _ in range(3):
        function(torch.ones(3))
    for turn in range(4):
        found = function(other * turn)
        assert found.dtype == other.dtype
        assert torch.equal(found, 2 * other * turn)
    assert function(torch.full((3,), 4.0)).tolist() == [8, 8, 8]


@pytest.mark.usefixtures("_on_gpu")
def test_lists_of_other_lengths_are_other_recordings() -> None:
    function = captured(lambda values: sum(values))
    for count in (2, 3, 2, 3, 2, 3):
        assert function([torch.ones(1)] * count).item() == count


@pytest.mark.usefixtures("_on_gpu")
def test_what_cannot_be_recorded_is_said_once_and_computed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    monkeypatch.setattr(capturing, "_record", fail)
    function, other = captured(lambda x: 2 * x), captured(lambda x: 3 * x)
    assert recording_failures() == 0
    with caplog.at_level(logging.WARNING, logger="datm"):
        for _ in range(3):
            assert function(torch.ones(1)).item() == 2
            assert other(torch.ones(1)).item() == 3
    assert [record.message.count("not permitted") for record in caplog.records] == [1]
    assert recording_failures() == 1


class Graphs:
    """What PyTorch does to record: graphs, streams they are begun on, the present one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.alive: list[object] = []
        self.pools: list[str] = []
        self.collecting: list[bool] = []
        self.stream = "present"
        graphs = self

        class Graph:
            def __init__(self) -> None:
                self.number = object()

            def replay(self) -> None: ...

            def __del__(self) -> None:
                graphs.alive.remove(self.number)

        for name, value in (
            ("CUDAGraph", Graph),
            ("graph", self.record),
            ("graph_pool_handle", lambda: f"pool {len(set(self.pools))}"),
            ("current_stream", lambda device: self.stream),
            ("set_stream", lambda stream: setattr(self, "stream", stream)),
        ):
            monkeypatch.setattr(torch.cuda, name, value)
        monkeypatch.setattr(capturing, "stream_of", lambda device, name: f"{device}'s")
        capturing._pool.cache_clear()

    @contextmanager
    def record(self, made: Any, pool: str, stream: str, **_: object) -> Any:
        assert pool not in self.pools or self.alive
        assert stream == "cpu's"
        self.alive.append(made.number)
        self.pools.append(pool)
        self.collecting.append(gc.isenabled())
        self.stream = stream
        yield  # an error leaves the stream as it is, as PyTorch does
        self.stream = "present"


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Graphs]:
    yield Graphs(monkeypatch)
    capturing._pool.cache_clear()


def record(function: Callable[..., Any]) -> capturing._Recording:
    return capturing._record(function, [torch.ones(2)], tree_structure((0,)))


def test_recordings_share_memory_that_outlives_them(graphs: Graphs) -> None:
    """PyTorch cannot record into a pool again once all that was recorded into it is gone."""
    for _ in range(3):
        recording = record(lambda x: x + 1)
        assert recording([torch.zeros(2)]).tolist() == [2, 2]
        del recording
        gc.collect()
        assert len(graphs.alive) == 1
    assert set(graphs.pools) == {"pool 0"}


def test_after_a_failed_recording_all_is_as_before_and_others_record(graphs: Graphs) -> None:
    def fail(x: Tensor) -> None:
        raise RuntimeError("operation not permitted when stream is capturing")

    for number in range(2):
        kept = record(lambda x: x + 1)
        with pytest.raises(RuntimeError, match="not permitted"):
            record(fail)
        assert graphs.stream == "present"
        assert gc.isenabled()
        assert graphs.pools[-1] == f"pool {number}"  # PyTorch refuses to begin in it again
        del kept
    record(lambda x: x + 1)
    assert graphs.pools[-1] == "pool 2"
    assert not any(graphs.collecting)  # the end of an old graph would end the recording


@pytest.mark.usefixtures("_on_gpu")
def test_want_of_memory_is_no_failure_to_record(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise torch.OutOfMemoryError("none left")

    monkeypatch.setattr(capturing, "_record", fail)
    function = captured(lambda x: 2 * x)
    function(torch.ones(1))
    with pytest.raises(torch.OutOfMemoryError):
        function(torch.ones(1))


@pytest.mark.usefixtures("_on_gpu")
def test_there_are_not_more_recordings_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has memory of its own: a function of ever other shapes must not fill a GPU."""
    monkeypatch.setattr(capturing, "MOST_RECORDINGS", 2)
    calls: list[int] = []
    function = captured(scaled(calls))
    for _ in range(3):
        for size in (1, 2, 3):
            assert torch.equal(function(torch.ones(size), [])[0], torch.full((size,), 2.0))
    # Sizes 1 and 2: plainly, recorded and replayed once each, which calls it thrice; 3 plainly.
    assert len(calls) == 2 * 4 + 3


def test_on_a_cpu_functions_are_called_as_they_are() -> None:
    calls: list[int] = []
    function = captured(scaled(calls))
    for turn in range(4):
        assert function(torch.ones(1), [])[0].item() == 2
        assert len(calls) == turn + 1
    values = [torch.ones(1)]
    assert kept(values) is values
