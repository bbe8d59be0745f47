"""A process of its own that takes a few steps of each kind and says what they cost.

    python -m datm.planning.probe < order.json

One line of JSON per step. What is measured here is what a run does: the same functions, compiled
if the run is, on random images. A process of its own, so that its memory is that of the steps
alone, and so that a step which takes too much brings nothing else down.

Letters: B batch, N inner steps.
"""

import dataclasses
import json
import math
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from datm.batches import STEPS_AT_ONCE, training_blocks
from datm.matching.config import Method
from datm.planning.outline import Kind, Step
from datm.planning.process import Memory, resident
from datm.planning.steps import Call, Parts
from datm.runtime.device import Runtime

QUICK = 8  # images of the first, uncompiled look
CALL_SECONDS = 25.0  # a call that would take longer, by that look, is made with fewer images
COMPILED = 1 / 3  # of the time of an uncompiled step that a compiled one takes, about
# ConvNet's ratios. They choose how many images are tried and what is measured first, no figure of
# a plan: a network with others is measured on more or fewer images than would be ideal.
BACKWARD = 3  # a gradient costs so many forward passes
MATCHED = 11  # an inner step, both sweeps
HELD = 4  # times the memory of a gradient that an inner step takes at most, uncompiled
REPEATS = 50
TOGETHER = 0.2  # seconds that inner steps timed together should take
INNER_STEPS = 2


@dataclass(frozen=True)
class Order:
    """What is asked of this process.

    steps: what to measure, the most important first; after `budget` seconds only those are still
    measured of which no other batch has been. memory: bytes that may be used; patience: seconds
    for which a step is repeated; threads: of torch.
    """

    steps: list[Step]
    runtime: Runtime
    shape: tuple[int, int, int]
    classes: int
    method: Method
    inner_steps: int
    memory: int
    budget: float
    patience: float
    threads: int


@dataclass(frozen=True)
class Cost:
    """What one step took, with `batch` images: fewer than asked for where that was too much.

    seconds: of one step, the median of repeats; quickest: the least of them; first: of the first
    call beyond that (compiling, mostly);
    bytes: on the device beside its inputs, at most; more: further bytes for each inner step
    (unrolled only); host: bytes that the process has grown by since it began.
    """

    step: Step
    batch: int
    seconds: float
    quickest: float
    first: float
    bytes: int
    more: int
    host: int

    @property
    def images(self) -> int:
        """All images of the step that was taken."""
        return self.batch * self.step.side


class Bench:
    """Takes steps and says what they cost."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.device = order.runtime.torch_device()
        self.memory = Memory(self.device)
        # Then the second call of any shapes records what later ones replay (runtime/capturing.py).
        self.records = self.device.type == "cuda" and order.runtime.compile
        self.begin = resident(trimmed=True)
        self.parts: dict[str, Parts] = {}
        self.looks: dict[str, tuple[float, float]] = {}

    def measure(self, step: Step) -> Cost:
        """The cost of one step, with as many images as can be afforded."""
        if step.network not in self.parts:
            order = self.order
            self.parts[step.network] = parts = Parts(
                step.network, order.shape, order.classes, order.runtime, order.method
            )
            self.looks[step.network] = self.look(parts)
        parts = self.parts[step.network]
        batch = self.affordable(step)
        inner = min(INNER_STEPS, self.order.inner_steps)
        figures = self.take(parts.call(step, batch), step.kind, inner, self.at_once(step, batch))
        # By now the images of the step are gone; what stays is code.
        return Cost(step, batch, *figures, host=resident(trimmed=True) - self.begin)

    def look(self, parts: Parts) -> tuple[float, float]:
        """(seconds, bytes) for each image of an uncompiled gradient, roughly."""
        work = parts.uncompiled(QUICK)
        work()
        before = self.memory.reset()
        work()
        held = max(1, self.memory.peak() - before)
        return min(self.seconds(work) for _ in range(3)) / QUICK, held / QUICK

    def affordable(self, step: Step) -> int:
        """The step's batch, or the largest power of two that is within the limits.

        A power of two, so that a compiled function is found in the compiler's cache next time.
        """
        if step.kind == "scores":  # always of one chunk
            return step.batch
        inner = min(INNER_STEPS, self.order.inner_steps)
        passes, share = {
            "gradient": (BACKWARD, 1),
            "match": (MATCHED * inner, HELD * (inner if self.order.method == "unrolled" else 1)),
            "statistics": (1, 1),
            "dm": (BACKWARD, 1),
            "dsa": (BACKWARD, HELD),
        }[step.kind]
        seconds, held = self.looks[step.network]
        seconds *= COMPILED if self.order.runtime.compile else 1.0
        most = min(CALL_SECONDS / (seconds * passes / BACKWARD), self.order.memory / (held * share))
        most = int(most) // step.side
        return step.batch if step.batch <= most else 1 << max(0, most.bit_length() - 1)

    def at_once(self, step: Step, batch: int) -> int:
        """Steps of one call, at most, as a run takes them."""
        if step.kind == "match":
            return self.order.inner_steps
        if step.kind == "gradient" and self.records:
            numbers = step.side * batch * math.prod(self.order.shape)
            return len(training_blocks(range(STEPS_AT_ONCE), numbers, on_gpu=True)[0])
        return 1

    def take(
        self, call: Call, kind: Kind, inner: int, at_once: int
    ) -> tuple[float, float, float, int, int]:
        """(seconds, quickest, first, bytes, more) as in `Cost`; a match takes `inner` at once.

        at_once: steps that may be taken by one call once it is known how long one takes.
        """
        match = kind == "match"
        inner = inner if match else 1
        before = self.memory.reset()
        first = self.seconds(lambda: call(inner))
        if self.records:
            first += self.seconds(lambda: call(inner))
        if self.device.type != "cuda":
            # Compiling takes host memory once; on a GPU what the first call takes is kept.
            before = self.memory.reset()
        second = self.seconds(lambda: call(inner))
        peak, more = self.memory.peak() - before, 0
        if match and self.order.method == "unrolled" and inner > 1:
            before = self.memory.reset()
            call(1)
            one = self.memory.peak() - before
            peak, more = one, max(0, (peak - one) // (inner - 1))
        taken = self.repeated(call, second / inner, at_once)
        if len(taken) < 2:
            taken.append(second / inner)
        if self.records and not more:  # a recording holds the images of all its steps
            peak = self.memory.peak() - before
        seconds = statistics.median(taken)
        return seconds, min(taken), max(0.0, first - inner * seconds), max(0, peak), more

    def repeated(self, call: Call, known: float, most: int) -> list[float]:
        """Seconds of one step, repeatedly. `known`: about how many; `most`: steps of one call.

        Short steps are taken many at once, as a run does: a GPU is not waited for after each.
        """
        count = max(1, int(TOGETHER / max(known, 1e-6)))
        inner = min(most, count)
        calls = max(1, min(REPEATS, count // inner))

        def several() -> None:
            for _ in range(calls):
                call(inner)

        if self.records:
            call(inner)
            call(inner)
        began = time.monotonic()
        taken: list[float] = []
        while not taken or (
            time.monotonic() - began < self.order.patience and len(taken) < REPEATS
        ):
            taken.append(self.seconds(several) / (calls * inner))
        return taken

    def seconds(self, work: Callable[[], object]) -> float:
        began = time.monotonic()
        work()
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.monotonic() - began


def main() -> None:
    """Read an order, print a line for each cost as it is known."""
    order = order_from(json.load(sys.stdin))
    torch.set_num_threads(order.threads)
    bench = Bench(order)
    began = time.monotonic()
    known: set[tuple[str, str]] = set()
    for step in order.steps:
        late = time.monotonic() - began > order.budget
        if not (late and (step.kind, step.network) in known):
            known.add((step.kind, step.network))
            with torch.no_grad():
                print(json.dumps(dataclasses.asdict(bench.measure(step))), flush=True)


def order_from(given: dict[str, Any]) -> Order:
    """An `Order` that went through JSON."""
    steps = [Step(**step) for step in given.pop("steps")]
    runtime = Runtime(**given.pop("runtime"))
    return Order(steps=steps, runtime=runtime, shape=tuple(given.pop("shape")), **given)


def cost_from(given: dict[str, Any]) -> Cost:
    """A `Cost` that went through JSON."""
    return Cost(step=Step(**given.pop("step")), **given)


if __name__ == "__main__":
    main()
