"""The settings of a matching gradient: which segments, how many steps, what counts of the distance.

Letters: N inner steps, M teacher epochs a segment spans, B batch, T epochs.
"""

from typing import Literal

from pydantic import Field

from datm.errors import InputError
from datm.runtime.settings import settings

Method = Literal["exact", "tesla", "unrolled"]


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
    flip: bool = Field(
        default=False,
        description="every second segment on images flipped left to right, as a flipped teacher's:"
        " worth twice as many teachers where flipped images are as likely",
    )
    segments: int = Field(default=1, gt=0, description="segments averaged per update")
    skip_depth: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="share of the parameters, the first in order of depth, that the matching loss"
        " leaves out (PAD)",
    )
    skip_lowest: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="share of the parameters, those nearest to their target, that the matching"
        " loss leaves out (EDF)",
    )
    nearest: bool = Field(
        default=False,
        description="match the student's step nearest to the target, not its last (ATT)",
    )
    backbone_weight: float | None = Field(
        default=None,
        ge=0,
        description="of the matching loss of all but the last linear layer, with classifier_weight"
        " (default: one loss of all parameters)",
    )
    classifier_weight: float | None = Field(
        default=None,
        ge=0,
        description="of the matching loss of the last linear layer, with backbone_weight (LTDD)",
    )
    data_share: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="share of the iterations whose students begin with fresh weights and are judged"
        " by their loss on real training images; the others follow teachers (Wang 2018)",
    )
    data_from: int = Field(
        default=0, ge=0, description="iteration before which all students follow teachers"
    )
    data_batch: int = Field(
        default=512, gt=0, description="real training images that judge such a student"
    )
    data_skip: int = Field(
        default=0,
        ge=0,
        description="such students take up to so many steps, another number each iteration, before"
        " the N that are differentiated: a random window (Feng 2023)",
    )
    prior_correction: bool = Field(
        default=False,
        description="the student's cross-entropy on scores less the log of the training data's"
        " class shares: a balanced set follows teachers of a long tail (LTDD)",
    )

    def __post_init__(self) -> None:
        first = self.last_upper if self.first_upper is None else self.first_upper
        if not self.lower < first <= self.last_upper:
            raise InputError(
                f"match: lower {self.lower}, first_upper {first}, last_upper {self.last_upper} are"
                " not in order; give lower < first_upper <= last_upper."
            )
        weights = self.backbone_weight, self.classifier_weight
        if (weights[0] is None) != (weights[1] is None):
            raise InputError(
                "match: backbone_weight and classifier_weight go together; give both or none."
            )
        if weights == (0, 0):
            raise InputError(
                "match: backbone_weight and classifier_weight are both 0, which leaves nothing to"
                " match; give one that is not."
            )
