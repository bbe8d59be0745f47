"""What a run would take here, before anything is spent: time, memory, disk, and what to change."""

from datm.planning.plan import Plan, make_plan
from datm.planning.table import plan_text

__all__ = ["Plan", "make_plan", "plan_text"]
