"""Which segments are matched: difficulty alignment (Guo 2024, section 3).

Early epochs carry easy patterns, late ones hard patterns. A start epoch t is drawn from
[lower, upper), and `upper` grows from `first_upper` to `last_upper` (sequential generation).

Letters: N inner steps, M teacher epochs a segment spans, t start epoch.
"""

from dataclasses import dataclass

import torch
from pydantic import Field

from datm.errors import InputError
from datm.matching.gradient import Method
from datm.runtime.settings import settings


@settings
class MatchConfig:
    """How one matching gradient is made."""

    gradient: Method = Field(default="exact", description="exact, tesla or unrolled (autograd)")
    inner_steps: int = Field(default=20, gt=0, description="N, student steps per segment")
    teacher_epochs: int = Field(default=2, gt=0, description="M, teacher epochs a segment spans")
    batch: int = Field(default=100, gt=0, description="B, synthetic images per student step")
    lower: int = Field(default=0, ge=0, description="T-, earliest start epoch")
    first_upper: int | None = Field(
        default=None,
        gt=0,
        description="T, upper bound of start epochs at first (default: last_upper)",
    )
    last_upper: int = Field(default=20, gt=0, description="T+, upper bound in the end")
    expansion: int = Field(default=0, ge=0, description="iterations over which T grows to T+")
    segments: int = Field(default=1, gt=0, description="segments averaged per update")

    def __post_init__(self) -> None:
        first = self.last_upper if self.first_upper is None else self.first_upper
        if not self.lower < first <= self.last_upper:
            raise InputError(
                f"match: lower {self.lower}, first_upper {first}, last_upper {self.last_upper} are"
                " not in order; give lower < first_upper <= last_upper."
            )


@dataclass(frozen=True)
class Segment:
    """A teacher's stretch of training: from epoch `start` to epoch `start` + M."""

    teacher: int
    start: int


def upper_epoch(config: MatchConfig, iteration: int) -> int:
    """The upper bound of start epochs (exclusive) at `iteration`: T at first, linear, then T+."""
    if config.first_upper is None or iteration >= config.expansion:
        return config.last_upper
    grown = (config.last_upper - config.first_upper) * iteration // config.expansion
    return config.first_upper + grown


def draw_segment(
    config: MatchConfig, iteration: int, teachers: int, generator: torch.Generator
) -> Segment:
    """A teacher and a start epoch, both uniform, from this iteration's window."""
    teacher = int(torch.randint(teachers, (), generator=generator))
    upper = upper_epoch(config, iteration)
    return Segment(teacher, int(torch.randint(config.lower, upper, (), generator=generator)))
