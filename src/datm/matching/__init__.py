"""Trajectory matching: the student's unrolled training and the gradient through it."""

from datm.matching.gradient import match_gradient
from datm.matching.objective import matching_loss, soft_cross_entropy, student_loss
from datm.matching.problem import Augment, MatchGradient
from datm.matching.student import Student
from datm.matching.window import MatchConfig, Segment, draw_segment, upper_epoch

__all__ = [
    "Augment",
    "MatchConfig",
    "MatchGradient",
    "Segment",
    "Student",
    "draw_segment",
    "match_gradient",
    "matching_loss",
    "soft_cross_entropy",
    "student_loss",
    "upper_epoch",
]
