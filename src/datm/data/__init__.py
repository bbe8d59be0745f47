"""Data sets: sources, splits, and the transform into the training space."""

from datm.data.config import DataConfig
from datm.data.dataset import DataSet, Split
from datm.data.load import load, load_data
from datm.data.transform import Transform, fit_transform

__all__ = ["DataConfig", "DataSet", "Split", "Transform", "fit_transform", "load", "load_data"]
