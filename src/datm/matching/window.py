"""What a student follows: which segments, by difficulty alignment (Guo 2024, section 3).

Early epochs carry easy patterns, late ones hard patterns. A start epoch t is drawn from
[lower, upper), and `upper` grows from `first_upper` to `last_upper` (sequential generation).

Letters: N inner steps, M teacher epochs a segment spans, t start epoch.
"""

import math
from dataclasses import dataclass

import torch

from datm.matching.config import MatchConfig


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


def on_real_images(config: MatchConfig, iteration: int) -> bool:
    """Whether students are judged on real images at `iteration`: `data_share` of them, evenly."""
    since = iteration - config.data_from
    if since < 0:
        return False
    return math.floor((since + 1) * config.data_share) > math.floor(since * config.data_share)


def last_epoch(config: MatchConfig) -> int:
    """Where the latest segment that may be drawn ends; 0 where no student follows teachers."""
    if config.data_share == 1 and not config.data_from:
        return 0
    return config.last_upper - 1 + config.teacher_epochs


def draw_segment(
    config: MatchConfig, iteration: int, teachers: int, generator: torch.Generator
) -> Segment:
    """A teacher and a start epoch, both uniform, from this iteration's window."""
    teacher = int(torch.randint(teachers, (), generator=generator))
    upper = upper_epoch(config, iteration)
    return Segment(teacher, int(torch.randint(config.lower, upper, (), generator=generator)))
