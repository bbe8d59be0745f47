"""datm: lossless dataset distillation by difficulty-aligned trajectory matching."""

# First: PyTorch's C code would swallow a Ctrl-C while it imports NumPy, and leave it half imported.
import numpy  # noqa: F401

from datm.data import DataSet, load_data
from datm.distillation import DistilledSet, distill
from datm.errors import InputError
from datm.evaluation import evaluate
from datm.matching import match_gradient
from datm.recipes import recipe
from datm.reporting import report
from datm.teaching import Trajectories, teach

__all__ = [
    "DataSet",
    "DistilledSet",
    "InputError",
    "Trajectories",
    "distill",
    "evaluate",
    "load_data",
    "match_gradient",
    "recipe",
    "report",
    "teach",
]
__version__ = "0.1.0"
