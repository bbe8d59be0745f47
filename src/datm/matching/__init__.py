"""Trajectory matching: the student's unrolled training and the gradient through it."""

from datm.matching.config import MatchConfig
from datm.matching.data_loss import DataLoss
from datm.matching.distance import Distance, Span, make_distance, matching_loss
from datm.matching.gradient import match_gradient
from datm.matching.objective import soft_cross_entropy, student_loss
from datm.matching.problem import Augment, MatchGradient
from datm.matching.student import Student
from datm.matching.window import Segment, draw_segment, last_epoch, on_real_images, upper_epoch

__all__ = [
    "Augment",
    "DataLoss",
    "Distance",
    "MatchConfig",
    "MatchGradient",
    "Segment",
    "Span",
    "Student",
    "draw_segment",
    "last_epoch",
    "make_distance",
    "match_gradient",
    "matching_loss",
    "on_real_images",
    "soft_cross_entropy",
    "student_loss",
    "upper_epoch",
]
