"""Distillation: optimising a few synthetic images so that students follow the teachers."""

from datm.distillation.config import DistillConfig
from datm.distillation.distilled_set import DistilledSet
from datm.distillation.loop import distill

__all__ = ["DistillConfig", "DistilledSet", "distill"]
