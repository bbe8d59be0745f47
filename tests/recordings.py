"""A stand-in for CUDA graphs, where there is no GPU.

Its replay computes the function again on the recorded inputs and writes into the recorded results,
as a graph's kernels do.
"""

from collections.abc import Callable
from typing import Any

import pytest
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from datm.runtime import capturing


class StandIn:
    """A graph of `function`'s kernels on `inputs`."""

    def __init__(self, function: Callable[..., Any], inputs: list[Tensor], form: Any) -> None:
        self._call = lambda: function(*tree_unflatten(inputs, form))
        self.results = self._call()

    def replay(self) -> None:
        found = tree_flatten(self._call())[0]
        for old, new in zip(tree_flatten(self.results)[0], found, strict=True):
            old.copy_(new)


def record_with_a_stand_in(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Have captured functions recorded by it; the list grows by the inputs of each recording."""
    recorded: list[int] = []

    def record(function: Callable[..., Any], given: list[Tensor], form: Any) -> Any:
        inputs = [value.clone() for value in given]
        recorded.append(len(inputs))
        graph = StandIn(function, inputs, form)
        return capturing._Recording(graph, inputs, graph.results)  # type: ignore[arg-type]

    monkeypatch.setattr(capturing, "_record", record)
    monkeypatch.setattr(capturing, "on_gpu", lambda tensor: True)
    capturing._report.cache_clear()
    return recorded
