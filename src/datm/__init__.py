"""datm: lossless dataset distillation by difficulty-aligned trajectory matching."""

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
