"""Teachers: networks trained on the real data, every epoch's weights kept."""

from datm.teaching.train import TeachConfig, teach
from datm.teaching.trajectories import Trajectories

__all__ = ["TeachConfig", "Trajectories", "teach"]
