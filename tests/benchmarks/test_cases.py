"""The cases: their names, their arithmetic against PyTorch's counter, and which are skipped."""

from dataclasses import asdict, replace
from typing import Any

import pytest
import torch
from speed.cases import PASSES, Case, grid, reason_to_skip
from speed.matching import make_matcher, make_segment
from speed.measure import WORKS
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

GIB = 2**30


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("quick", [False, True])
def test_no_two_cases_share_a_name(device: str, quick: bool) -> None:
    names = [case.name for case in grid(device, quick)]
    assert len(set(names)) == len(names)


def test_a_forward_pass_is_a_tenth_of_a_gigaflop() -> None:
    assert Case("match").pass_flops == pytest.approx(0.101e9, rel=0.01)


@pytest.mark.parametrize("how", ["unrolled", "tesla", "ours-exact-eager", "ours-tesla"])
def test_passes_are_as_counted(how: str) -> None:
    """One more inner step adds PASSES, less at most three times the first layer's 0.07 of one.

    (No method needs the first layer's gradient by its input everywhere.)
    """
    counts = []
    for steps in (2, 3):
        case = Case("match", how, batch=1, steps=steps)
        matcher, segment = make_matcher(case, compile=False), make_segment(case, "cpu")
        with FlopCounterMode(display=False) as counter:
            matcher(segment, None)
        counts.append(counter.get_total_flops() / case.pass_flops)
    assert PASSES[how] - 0.3 < counts[1] - counts[0] <= PASSES[how]


@pytest.mark.parametrize("kind", ["iteration", "teach", "evaluate"])
def test_several_side_by_side_are_several(kind: str) -> None:
    """Losses [G] of segments, parameters [G, P] of networks; the first is the one alone."""
    how = "ours-exact-eager" if kind == "iteration" else "ours"
    case = Case(kind, how, batch=4, steps=2, small=True)
    one, three = (WORKS[kind](replace(case, sides=sides), "cpu")[1]() for sides in (1, 3))
    assert isinstance(one, Tensor)
    assert isinstance(three, Tensor)
    assert len(three) == 3
    assert bool(three.isfinite().all())
    if kind == "iteration":
        assert len(set(three.tolist())) == 3
    else:
        assert torch.allclose(three[0], one.view(three[0].shape), atol=1e-5)


def test_unrolled_memory_is_foretold() -> None:
    """Within a fifth of what PyTorch's allocator counts."""
    case = Case("match", "unrolled", batch=2, steps=6)
    matcher, segment = make_matcher(case), make_segment(case, "cpu")
    live = peak = 0
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        matcher(segment, None)
    events = [e for e in recorded.profiler.kineto_results.events() if e.name() == "[memory]"]
    for event in sorted(events, key=lambda event: event.start_ns()):
        live += event.nbytes()
        peak = max(peak, live)
    assert peak == pytest.approx(case.unrolled_bytes, rel=0.2)


def record(case: Case, per_step: float) -> dict[str, Any]:
    seconds = per_step * case.steps
    return {"case": asdict(case), "seconds": [seconds], "seconds_per_step": per_step}


def test_what_would_not_fit_is_skipped() -> None:
    case = Case("match", "unrolled", batch=500, steps=80)
    reason = reason_to_skip(case, {}, 24 * GIB, 1e9)
    assert reason
    assert "24 GiB may be used" in reason
    assert reason_to_skip(replace(case, how="tesla"), {}, 24 * GIB, 1e9) is None
    assert reason_to_skip(replace(case, steps=10), {}, 24 * GIB, 1e9) is None
    assert reason_to_skip(replace(case, batch=10), {}, 24 * GIB, 1e9) is None


def test_bfloat16_is_skipped_where_it_would_be_emulated() -> None:
    case = Case("match", "ours-exact", "bfloat16", batch=50, steps=10)
    assert reason_to_skip(case, {}, GIB, 1e9, bfloat16=True) is None
    reason = reason_to_skip(case, {}, GIB, 1e9, bfloat16=False)
    assert reason
    assert "no arithmetic for bfloat16" in reason
    assert reason_to_skip(replace(case, precision="float32"), {}, GIB, 1e9, bfloat16=False) is None


def test_what_would_take_too_long_is_skipped() -> None:
    """Foretold from the nearest smaller batch of the same method, in proportion."""
    near, far = (
        Case("match", "tesla", batch=100, steps=10),
        Case("match", "tesla", batch=10, steps=10),
    )
    done = {case.name: record(case, seconds) for case, seconds in ((near, 1.0), (far, 7.0))}
    case = Case("match", "tesla", batch=500, steps=80)
    reason = reason_to_skip(case, done, GIB, 399.0)
    assert reason
    assert "about 400 s" in reason
    assert reason_to_skip(case, done, GIB, 401.0) is None
    other = replace(case, how="ours-exact")
    assert reason_to_skip(other, done, GIB, 1.0) is None
