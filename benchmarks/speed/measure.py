"""Measuring one case in this process. Data are random, the network is the papers' ConvNet.

Letters: P parameters, S synthetic images (= B here), N inner steps, B batch, K classes.
"""

import logging
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from datm.runtime.device import computes_bfloat16, round_convolutions
from speed import matching, training
from speed.cases import Case
from speed.machine import Peak


class Heard(logging.Handler):
    """Keeps what the library warns of: that it runs uncompiled, say."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.warnings: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.warnings.append(record.getMessage())


@dataclass(frozen=True)
class Clock:
    """How often to repeat: `repeats` times, or until about `seconds` have passed."""

    device: str
    repeats: int = 5
    seconds: float = 20.0

    def once(self, work: Callable[[], object]) -> float:
        """Seconds that `work` takes, the device's included."""
        self._wait()
        began = time.perf_counter()
        kept = work()
        self._wait()
        seconds = time.perf_counter() - began
        del kept  # results are freed outside the clock
        return seconds

    def times(self, work: Callable[[], object]) -> list[float]:
        """Seconds of each repeat, at least one."""
        found = [self.once(work)]
        while len(found) < self.repeats and sum(found) < self.seconds:
            found.append(self.once(work))
        return found

    def _wait(self) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()


def measure(case: Case, clock: Clock) -> dict[str, Any]:
    """The figures of one case; "skipped" says why where it did not fit into memory."""
    heard = Heard()
    logging.getLogger("datm").addHandler(heard)
    if clock.device == "cuda":
        round_convolutions(case.precision)
    peak = Peak(clock.device)
    try:
        figures = MEASURES[case.kind](case, clock)
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error):
            return {"skipped": "did not fit into memory"}
        raise
    return {**figures, "peak_bytes": peak.bytes(), "warnings": heard.warnings}


def repeated(case: Case, clock: Clock) -> dict[str, Any]:
    """Seconds of a case's work. What is called first (compiling, say) is timed by itself.

    On a GPU that is twice the work: compiled functions are recorded when they are called again.
    """
    rehearsal, work = WORKS[case.kind](case, clock.device)
    first = clock.once(work) + clock.once(work) if clock.device == "cuda" else clock.once(rehearsal)
    seconds = clock.times(work)
    return {
        "first_seconds": first,
        "seconds": seconds,
        "seconds_per_step": statistics.median(seconds) / case.steps / case.sides,
    }


def ceilings(case: Case, clock: Clock) -> dict[str, Any]:
    """FLOP/s of a matrix product in each precision, bytes/s of a copy: the fastest of several."""
    side = 128 if case.small else 8192 if clock.device == "cuda" else 2048
    found: dict[str, Any] = {"side": side}
    kinds = {"float32": torch.float32}
    if computes_bfloat16(torch.device(clock.device)):
        kinds["bfloat16"] = torch.bfloat16
    if clock.device == "cuda":
        kinds["tf32"] = torch.float32
    for precision, dtype in kinds.items():
        torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
        left = torch.randn(side, side, device=clock.device).to(dtype)
        right = torch.randn(side, side, device=clock.device).to(dtype)
        found[precision] = 2 * side**3 / _fastest(clock, left, right)
    count = 2**18 if case.small else 2**28 if clock.device == "cuda" else 2**26
    source = torch.ones(count, device=clock.device)
    target = torch.zeros_like(source)
    found["copy"] = 8 * count / min(clock.once(lambda: target.copy_(source)) for _ in range(9))
    return found


def _fastest(clock: Clock, left: torch.Tensor, right: torch.Tensor) -> float:
    times = [clock.once(lambda: left @ right) for _ in range(15)]
    return min(times)


WORKS: dict[str, Callable[[Case, str], tuple[Callable[[], object], Callable[[], object]]]] = {
    "match": matching.work,
    "iteration": matching.iteration,
    "teach": training.teaching,
    "evaluate": training.evaluation,
}
"""(case, device) -> (a short rehearsal of the work, the work)."""

MEASURES: dict[str, Callable[[Case, Clock], dict[str, Any]]] = {
    "ceilings": ceilings,
    "error": lambda case, clock: matching.errors(case, clock.device),
    **dict.fromkeys(WORKS, repeated),
}
