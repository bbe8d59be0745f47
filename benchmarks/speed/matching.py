"""Matching gradients to be timed, and their errors against float64.

Letters: P parameters, S synthetic images (= B here), N inner steps, B batch, K classes, G segments
side by side.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from datm.augment import OPERATIONS, Augmentations, SideBySide, draw_augmentation
from datm.matching import Augment, Student, match_gradient, student_loss
from datm.networks import make_network
from datm.runtime.device import Precision, computes_bfloat16, round_convolutions
from datm.runtime.seeds import generator
from speed import baselines
from speed.baselines import Gradient, Segment
from speed.cases import Case

Matcher = Callable[[Segment, Augment | None], Gradient]
Work = Callable[[], object]


def work(case: Case, device: str) -> tuple[Work, Work]:
    """One matching gradient without augmentation; the rehearsal has one inner step."""
    matcher, segment = make_matcher(case), make_segment(case, device)
    short = segment._replace(batches=segment.batches[:1])
    return lambda: matcher(short, None), lambda: matcher(segment, None)


def iteration(case: Case, device: str) -> tuple[Work, Work]:
    """A whole iteration: a matching gradient under augmentation, and the three updates."""
    matcher, segment = make_matcher(case), make_segment(case, device)
    values = segment[2:5]
    rates = ((1e-3, 0.5), (1e-3, 0.9), (1e-6, 0.5))
    groups = [
        {"params": [value], "lr": lr, "momentum": momentum}
        for value, (lr, momentum) in zip(values, rates, strict=True)
    ]
    updates = torch.optim.SGD(groups)
    augment = drawn(case, device)

    def iterate(steps: int) -> Tensor:
        found = matcher(segment._replace(batches=segment.batches[..., :steps, :]), augment)
        for value, gradient in zip(values, found[1:], strict=True):
            value.grad = gradient if case.sides == 1 else gradient.mean(0)
        updates.step()
        return found.loss

    return lambda: iterate(1), lambda: iterate(case.steps)


def drawn(case: Case, device: str) -> Augment:
    """A draw of the whole augmentation for each inner step, on the device.

    Outside the clock: `datm` makes them while the device works on the iteration before.
    """
    own = []
    for number in range(case.sides):
        draws = [
            draw_augmentation("_".join(OPERATIONS), case.batch, generator(number, "augment", step))
            for step in range(case.steps)
        ]
        steps = Augmentations.of(draws)
        own.append(replace(steps, uniforms=steps.uniforms.to(device)))
    return own[0] if case.sides == 1 else SideBySide(tuple(own))


def make_segment(case: Case, device: str) -> Segment:
    """Random data in float32: S = B images, permuted for every inner step.

    Of G segments start, target and batches have a leading axis.
    """
    depth, width, side = case.geometry
    draw = generator(0, "benchmark")
    network = make_network(f"convnet-{depth},width={width}", (3, side, side), case.classes)
    sides = (case.sides,) if case.sides > 1 else ()
    start = network.initial(draw).repeat(*sides, 1)
    segment = Segment(
        start,
        start + 0.01 * torch.randn(start.shape, generator=draw),
        torch.randn(case.batch, 3, side, side, generator=draw),
        torch.randn(case.batch, case.classes, generator=draw),
        torch.tensor(0.01),
        _rows(case, draw).view(*sides, case.steps, case.batch),
    )
    return Segment(*(value.to(device) for value in segment))


def _rows(case: Case, draw: torch.Generator) -> Tensor:
    """Rows [G * N, B], every student's of every step."""
    count = case.sides * case.steps
    return torch.stack([torch.randperm(case.batch, generator=draw) for _ in range(count)])


def make_matcher(case: Case, compile: bool = True) -> Matcher:
    """The method that `case.how` names; of ours all but small and "eager" ones are compiled."""
    depth, width, side = case.geometry
    shapes = baselines.parameter_shapes(depth, width, 3, side, case.classes)
    if case.how == "unrolled":
        return lambda segment, augment: baselines.unrolled(segment, shapes, augment)
    if case.how == "tesla":
        return lambda segment, augment: baselines.tesla(segment, shapes, augment)
    spec = f"convnet-{depth},width={width}"
    network = make_network(spec, (3, side, side), case.classes, case.precision)
    uncompiled = not compile or case.small or case.how == "ours-exact-eager"
    student = Student(student_loss(network), not uncompiled)
    method: Literal["exact", "tesla"] = "tesla" if case.how == "ours-tesla" else "exact"

    def ours(segment: Segment, augment: Augment | None) -> Gradient:
        found = match_gradient(student, *segment, method=method, augment=augment)
        return Gradient(found.loss, found.images_grad, found.logits_grad, found.step_size_grad)

    return ours


def errors(case: Case, device: str) -> dict[str, dict[str, dict[str, float]]]:
    """||gradient - exact|| / ||exact|| of every method, exact being unrolled in float64."""
    segment = make_segment(case, device)
    oracle = make_matcher(replace(case, how="unrolled"))
    exact = oracle(segment.double(), None)
    hows = ("unrolled", "tesla", "ours-exact", "ours-exact-eager", "ours-tesla")
    rows: list[tuple[str, Precision]] = [(how, "float32") for how in hows]
    if computes_bfloat16(torch.device(device)):
        rows.append(("ours-exact", "bfloat16"))
    if device == "cuda":
        rows += [("unrolled", "tf32"), ("ours-exact", "tf32")]
    found = {}
    for how, precision in rows:
        if device == "cuda":
            round_convolutions(precision)
        method = make_matcher(replace(case, how=how, precision=precision))
        ours = method(segment, None)
        found[f"{how}/{precision}"] = {
            name: baselines.error(value, true)
            for name, value, true in zip(Gradient._fields, ours, exact, strict=True)
            if name != "loss"
        }
    return {"errors": found}
