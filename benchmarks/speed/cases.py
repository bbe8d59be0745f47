"""What is measured: the cases of each device, their arithmetic, and which are not worth starting.

Letters: N inner steps, B batch, K classes, G students, teachers or networks side by side.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from datm.runtime.device import Precision

GIB = 2**30

LABELS = {
    "unrolled": "(a) unrolled autograd, eager",
    "tesla": "(b) TESLA's estimate, eager",
    "ours-exact": "ours, exact",
    "ours-exact-eager": "ours, exact, uncompiled",
    "ours-tesla": "ours, TESLA's estimate",
    "eager": "eager",
    "ours": "ours",
}
"""Who computes a case, as the tables say it."""

PASSES = {
    "unrolled": 9,  # forward and gradient 3, reverse over reverse 6
    "tesla": 11,  # forward sweep 3; forward and gradient 3, reverse over reverse 5
    "ours-exact": 11,  # forward sweep 3; forward over reverse 8
    "ours-exact-eager": 11,
    "ours-tesla": 9,  # forward sweep 3; forward over reverse 6, without parameters
    "eager": 3,
    "ours": 3,
}
"""Passes over the convolutions for one (inner) step, one pass being a forward one; as counted."""

UNROLLED_MAPS, TRANSIENT_MAPS = 5, 9
"""Copies of every convolution's output that unrolling keeps of each inner step, and at the end."""


@dataclass(frozen=True)
class Case:
    """One measurement, in a process of its own.

    `kind` is what is measured (a name in `measure.MEASURES`), `how` who computes it. `batch` is B,
    `steps` N, `classes` K, `sides` G; `precision` that of the convolutions; `allocator` "default"
    is glibc's malloc as it comes. `small` is a toy network, for tests of the benchmark itself.
    """

    kind: str
    how: str = ""
    precision: Precision = "float32"
    batch: int = 0
    steps: int = 0
    classes: int = 10
    sides: int = 1
    allocator: str = "kept"
    small: bool = False

    @property
    def name(self) -> str:
        parts = [self.kind]
        if self.how:
            parts += [self.how, self.precision]
        if self.batch:
            sides = f"-G{self.sides}" if self.sides > 1 else ""
            parts += [f"K{self.classes}-B{self.batch}-N{self.steps}{sides}"]
        if self.allocator != "kept":
            parts.append(f"{self.allocator}-malloc")
        return "/".join(parts) + ("/small" if self.small else "")

    @property
    def geometry(self) -> tuple[int, int, int]:
        """(depth, width, side) of the ConvNet and its square images."""
        return (3, 8, 8) if self.small else (3, 128, 32)

    @property
    def map_floats(self) -> int:
        """Numbers in the outputs of all convolutions, per image."""
        depth, width, side = self.geometry
        return sum(width * (side >> block) ** 2 for block in range(depth))

    @property
    def pass_flops(self) -> float:
        """Operations of one forward pass per image; a multiplication and an addition are two."""
        depth, width, side = self.geometry
        total = 0
        for block in range(depth):
            inputs = width if block else 3
            total += 9 * inputs * width * (side >> block) ** 2
        return 2.0 * (total + width * (side >> depth) ** 2 * self.classes)

    @property
    def step_flops(self) -> float:
        """Operations of the convolutions in one (inner) step."""
        images = min(self.batch, 256) if self.kind == "evaluate" else self.batch
        return PASSES[self.how] * images * self.pass_flops

    @property
    def unrolled_bytes(self) -> float:
        """Memory that unrolling N steps by autograd takes, about, in float32."""
        maps = UNROLLED_MAPS * self.steps + TRANSIENT_MAPS
        return 4.0 * maps * self.map_floats * self.batch


def grid(device: str, quick: bool) -> list[Case]:
    """The cases for "cpu" or "cuda", cheap ones of a kind first: they predict the others."""
    if quick:
        return _quick()
    precisions: list[Precision] = ["float32", "tf32"] if device == "cuda" else ["float32"]
    ours: list[Precision] = [*precisions, "bfloat16"]
    cases = [Case("ceilings")]
    cases += [Case("error", batch=b, steps=n) for b, n in ((10, 2), (10, 10), (100, 4))]
    if device == "cuda":
        for batch in (10, 50, 100, 500):
            for steps in (10, 80):
                cases += _matching("match", batch, steps, precisions, ours)
            cases += _extras(batch, ("ours-exact-eager", "ours-tesla"))
        for batch, classes in ((10, 10), (100, 10), (1000, 100)):
            cases += _matching("iteration", batch, 80, precisions, ours, classes)
        cases += [
            Case("iteration", "ours-exact", "bfloat16", batch, 80, sides=sides)
            for batch in (10, 100)
            for sides in (2, 4, 8)
        ]
        steps_timed = {"teach": 50, "evaluate": 50}
    else:
        for batch in (10, 50, 100):
            cases += _matching("match", batch, 10, precisions, ours)
        cases += _extras(50, ("ours-exact-eager", "ours-tesla"))
        cases += _extras(100, ("ours-exact-eager",))
        # Ten unrolled steps of B = 500 take 19 GiB, eighty 130; two can be timed almost anywhere.
        cases.append(Case("match", "unrolled", batch=500, steps=2))
        for batch, steps in ((500, 10), (10, 80), (100, 80), (500, 80)):
            cases += _matching("match", batch, steps, precisions, ours)
        for how in ("unrolled", "tesla"):
            cases.append(Case("match", how, batch=100, steps=10, allocator="default"))
        # CIFAR-100 at 10 images per class for its memory: more steps add a vector [P] each.
        cases += [Case("match", "ours-exact", p, 1000, 2, classes=100) for p in ours]
        cases.append(Case("teach", "eager", batch=256, steps=6, allocator="default"))
        steps_timed = {"teach": 6, "evaluate": 8}
    for kind, batch in (("teach", 256), ("evaluate", 10), ("evaluate", 100), ("evaluate", 500)):
        steps = steps_timed[kind]
        cases += [Case(kind, "eager", precision, batch, steps) for precision in precisions]
        cases += [Case(kind, "ours", precision, batch, steps) for precision in ours]
        if device == "cuda":
            cases.append(Case(kind, "ours", "bfloat16", batch, steps, sides=4))
    return cases


def _matching(
    kind: str,
    batch: int,
    steps: int,
    baseline: list[Precision],
    ours: list[Precision],
    classes: int = 10,
) -> list[Case]:
    """Both baselines and ours at one size."""
    rows: list[tuple[str, Precision]] = [
        (how, precision) for how in ("unrolled", "tesla") for precision in baseline
    ]
    rows += [("ours-exact", precision) for precision in ours]
    return [Case(kind, how, precision, batch, steps, classes) for how, precision in rows]


def _extras(batch: int, hows: tuple[str, ...]) -> list[Case]:
    """Ours in other ways: uncompiled, or TESLA's estimate."""
    return [Case("match", how, batch=batch, steps=10) for how in hows]


def _quick() -> list[Case]:
    """One small case of every kind; none is compiled."""
    small: dict[str, Any] = {"batch": 4, "steps": 2, "small": True}
    return [
        Case("ceilings", small=True),
        Case("error", **small),
        *(Case("match", how, **small) for how in ("tesla", "ours-exact-eager")),
        Case("iteration", "ours-exact-eager", **small),
        *(Case("teach", how, **small) for how in ("eager", "ours")),
        Case("evaluate", "eager", **small),
    ]


def reason_to_skip(
    case: Case,
    done: Mapping[str, Mapping[str, Any]],
    memory: float,
    limit: float,
    bfloat16: bool = True,
) -> str | None:
    """Why a case is not started, or None: it needs over `memory` bytes or takes over `limit` s.

    bfloat16: whether the device multiplies such numbers; emulated they take tens of times as long.

    Time is foretold from what is `done` (records by name) of the same method and precision: per
    inner step at the same B, else at the nearest smaller B, in proportion to B.
    """
    if case.precision == "bfloat16" and not bfloat16:
        return "there is no arithmetic for bfloat16 here"
    if case.how == "unrolled" and case.unrolled_bytes > memory:
        needed, free = (f"{value / GIB:,.0f} GiB" for value in (case.unrolled_bytes, memory))
        return f"would need about {needed}; {free} may be used"
    if not case.how:
        return None
    same = ("kind", "how", "precision", "allocator", "small")
    alike = [
        record
        for record in done.values()
        if record.get("seconds")
        and all(record["case"][key] == getattr(case, key) for key in same)
        and record["case"]["batch"] <= case.batch
    ]
    if not alike:
        return None
    nearest = max(alike, key=lambda record: record["case"]["batch"])
    per_step = nearest["seconds_per_step"] * case.batch / nearest["case"]["batch"]
    if (expected := per_step * case.steps) > limit:
        return f"would take about {expected:,.0f} s once; the limit is {limit:,.0f} s"
    return None
