"""Costs of steps: measured in a process of their own, scaled to other batches."""

import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest

from datm.errors import InputError
from datm.planning.measure import Costs, measure
from datm.planning.outline import Kind, Step
from datm.planning.probe import Bench, Cost, Order
from datm.runtime.device import Runtime
from datm.runtime.logs import QUIET

NETWORK = "convnet-1,width=4"
MIB = 2**20


def order_of(*steps: Step, **changes) -> Order:
    given = {
        "runtime": Runtime(device="cpu"),
        "shape": (3, 32, 32),
        "classes": 10,
        "method": "exact",
        "inner_steps": 3,
        "memory": 2**31,
        "budget": 60.0,
        "patience": 0.1,
        "threads": 1,
    }
    return Order(steps=list(steps), **{**given, **changes})


def cost(step: Step, batch: int, seconds: float, held: int, more: int = 0) -> Cost:
    return Cost(step, batch, seconds, seconds / 2, 1.5, held, more, 7)


def test_a_step_is_in_proportion_to_its_images() -> None:
    large = Step("match", NETWORK, 1000)
    costs = Costs([cost(large, 100, 2.0, 300)], inner_steps=5)
    assert costs.seconds({large: 3}) == pytest.approx(60.0)
    assert costs.seconds({large: 3}, quickest=True) == pytest.approx(30.0)
    assert costs.activations(large) == 3000
    assert costs.scaled({large: 3}) == [(large, 100)]
    assert (costs.compiling, costs.host) == (1.5, 7)


def test_unrolled_steps_hold_their_own_for_each_inner_step() -> None:
    step = Step("match", NETWORK, 10)
    costs = Costs([cost(step, 10, 1.0, 100, more=40)], inner_steps=5)
    assert costs.activations(step) == 100 + 4 * 40


def test_what_was_not_measured_is_judged_by_the_nearest_batch() -> None:
    measured = [Step("gradient", NETWORK, batch) for batch in (10, 100, 1000)]
    costs = Costs([cost(s, s.batch, 1.0, s.batch) for s in measured], 1)
    asked = {Step("gradient", NETWORK, 5): 10, Step("gradient", NETWORK, 90, side=2): 100}
    for step, batch in asked.items():
        assert costs.nearest(step).batch == batch
    assert costs.nearest(Step("gradient", NETWORK, 100, "flip")).batch == 100


def test_a_real_measurement_grows_with_the_batch() -> None:
    """One process for all: activations of a gradient are a line in the batch."""
    batches = 64, 256
    steps = [Step("gradient", "convnet-2,width=64", batch, "flip") for batch in batches]
    few, many = measure(order_of(*steps, memory=2**34), QUIET)
    assert (few.step, many.step) == tuple(steps)
    assert (few.batch, many.batch) == batches
    assert few.bytes > 64 * 64 * 32 * 32 * 4  # the first block's output, at least
    assert many.bytes / few.bytes == pytest.approx(4, rel=0.25)
    assert 0 < few.quickest <= few.seconds


def test_the_quickest_of_two_repeats_is_never_above_their_median(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Bench(order_of())
    monkeypatch.setattr(bench, "repeated", lambda *_: [1000.0])
    seconds, quickest, *_ = bench.take(lambda _: None, "gradient", 1, 1)
    assert quickest < 1 < seconds < 1000


@pytest.mark.parametrize(("kind", "begun", "most"), [("match", 4, 80), ("gradient", 1, 32)])
def test_where_calls_are_recorded_compiling_and_recording_count_as_the_first(
    kind: Kind, begun: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock that the calls set: of any number of steps the first takes 30 s, the second 1."""
    now, seen = [0.0], Counter[int]()

    def call(inner: int) -> None:
        now[0] += {0: 30.0, 1: 1.0}.get(seen[inner], 0.01 * inner)
        seen[inner] += 1

    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    bench = Bench(order_of(inner_steps=80))
    bench.records = True
    held = SimpleNamespace(reset=lambda: 1000, peak=lambda: 1000 + 7 * max(seen))
    monkeypatch.setattr(bench, "memory", held)
    seconds, quickest, first, memory, _ = bench.take(call, kind, 4, most)
    assert seconds == pytest.approx(0.01)
    assert quickest == pytest.approx(0.01)
    assert first == pytest.approx(31, abs=0.1)
    assert seen[begun] >= 3
    assert begun < max(seen) <= most  # then as many steps as take a while, begun anew
    assert memory == 7 * max(seen)  # and recorded with all that they hold


@pytest.mark.parametrize(
    ("step", "most"),
    [
        (Step("match", NETWORK, 100, "flip"), 80),
        (Step("gradient", NETWORK, 256, "flip"), 32),
        (Step("gradient", NETWORK, 256, "flip", side=8), 8),  # 2**26 numbers: ten steps
        (Step("gradient", NETWORK, 100_000, "flip"), 1),
        (Step("scores", NETWORK, 256, "none"), 1),
    ],
)
def test_a_gpu_takes_as_many_steps_at_once_as_in_a_run(step: Step, most: int) -> None:
    bench = Bench(order_of(inner_steps=80))
    assert bench.at_once(step, step.batch) == (most if step.kind == "match" else 1)
    bench.records = True
    assert bench.at_once(step, step.batch) == most


def test_too_large_a_step_is_taken_on_fewer_images() -> None:
    step = Step("match", "convnet-1,width=32", 100_000, "flip", side=2)
    (found,) = measure(order_of(step, memory=300 * MIB), QUIET)
    assert found.step == step
    assert found.batch < 2000
    assert found.batch & (found.batch - 1) == 0
    assert found.bytes < 300 * MIB


def test_after_the_budget_only_what_is_indispensable_is_taken() -> None:
    steps = [Step("gradient", NETWORK, batch) for batch in (20, 10)]
    steps.append(Step("scores", NETWORK, 250))
    found = measure(order_of(*steps, budget=0.0), QUIET)
    assert [one.step for one in found] == [steps[0], steps[2]]


def test_steps_of_baselines_grow_with_their_real_images() -> None:
    kinds: tuple[Kind, ...] = ("dm", "dsa")
    network = "convnet-2,width=32"
    steps = [Step(k, network, batch, "flip", synthetic=10) for k in kinds for batch in (40, 160)]
    found = measure(order_of(*steps, memory=2**34), QUIET)
    assert [one.batch for one in found] == [40, 160] * 2
    for few, many in (found[:2], found[2:]):
        assert few.bytes > 40 * 32 * 16 * 16 * 4  # a real batch's first block, at least
        assert many.bytes > 2 * few.bytes


@pytest.mark.parametrize("method", ["tesla", "unrolled"])
def test_every_method_can_be_measured(method: str) -> None:
    step = Step("match", "convnet-2,width=32", 100, "crop_scale")
    (found,) = measure(order_of(step, method=method), QUIET)
    assert found.bytes > 0
    assert (found.more > found.bytes / 4) == (method == "unrolled")


def test_a_process_that_is_killed_is_too_little_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = tmp_path / "python"
    killed.write_text("#!/bin/sh\ncat > /dev/null\nkill -9 $$\n")
    killed.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(killed))
    with pytest.raises(InputError, match=r"one step of convnet-1,width=4 on 7 images found too"):
        measure(order_of(Step("gradient", NETWORK, 7)), QUIET)


def test_a_bug_is_shown_with_its_traceback() -> None:
    with pytest.raises(RuntimeError, match=r"Traceback(.|\n)*InputError"):
        measure(order_of(Step("gradient", "convnet-9", 7)), QUIET)
