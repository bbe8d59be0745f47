"""The settings of a distillation."""

import math
from typing import Literal

from pydantic import Field

from datm.distillation.optimiser import Optimiser
from datm.matching import MatchConfig
from datm.runtime.settings import settings


@settings
class DistillConfig:
    """What is optimised, and how.

    Learning rates apply to the gradient of the outer loss with respect to the images in the
    training space, the label logits and the step size. These gradients are tiny, so the images'
    rates are large with SGD.
    """

    ipc: int = Field(default=10, gt=0, description="images per class")
    formation: int = Field(
        default=1,
        gt=0,
        description="F: each image is cut into F x F pieces, and each piece, enlarged, is an image"
        " to train on with a label of its own (IDC); 1: images as they are",
    )
    match: MatchConfig = Field(default_factory=MatchConfig, description="the matching gradient")
    iterations: int = Field(default=1000, ge=0, description="updates of the distilled set")
    initial: Literal["correct", "any"] = Field(
        default="correct", description="real images to begin with: classified correctly, or any"
    )
    begin_with: str | None = Field(
        default=None,
        description="folder of a distilled set of the same data whose images and labels are gone"
        " on from, instead of real images with the teachers' labels",
    )
    labels: Literal["learned", "fixed", "hard"] = Field(
        default="learned",
        description="learned from the teachers' soft labels on, those labels fixed, or hard",
    )
    step_size: float = Field(default=0.01, gt=0, description="alpha at the beginning")
    smallest_step_size: float = Field(default=1e-5, gt=0, description="alpha never falls below")
    images_lr: float = Field(default=100.0, ge=0, description="learning rate of the images")
    labels_lr: float = Field(default=5.0, ge=0, description="learning rate of the label logits")
    step_size_lr: float = Field(default=1e-5, ge=0, description="learning rate of alpha")
    final_rate: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="share of the three learning rates that is left at the last iteration, reached"
        " along half a cosine; 1: constant rates",
    )
    optimiser: Optimiser = Field(
        default="sgd",
        description="sgd, or adam: the learning rates then are about the length of a step in every"
        " entry, whatever the size of its gradients",
    )
    images_momentum: float = Field(default=0.5, ge=0, lt=1, description="of the images' updates")
    labels_momentum: float = Field(default=0.9, ge=0, lt=1, description="of the labels' updates")
    step_size_momentum: float = Field(default=0.5, ge=0, lt=1, description="of alpha's updates")
    ema: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="decay of an average of images and labels over the updates, which then is what"
        " is distilled (FTD); 0: none",
    )
    reader_lr: float | None = Field(
        default=None,
        gt=0,
        description="learning rate of the networks that are trained on the set, in validation and"
        " by its readers, who have momentum (default: alpha as it is learned)",
    )
    threshold: float = Field(
        default=1.0, gt=0, description="a segment with a larger matching loss changes nothing"
    )
    validate_every: int = Field(default=100, gt=0, description="iterations between validations")
    validate_networks: int = Field(default=1, gt=0, description="networks per validation")
    validate_epochs: int = Field(default=300, gt=0, description="passes they make over the images")
    checkpoint_every: int = Field(default=50, gt=0, description="iterations between checkpoints")
    log_every: int = Field(default=1, gt=0, description="iterations between lines of metrics.jsonl")

    @property
    def formed(self) -> int:
        """Images per class to train on: each stored one is cut into formation^2 of them."""
        return self.ipc * self.formation**2

    def rate(self, iteration: int) -> float:
        """The share of the learning rates that the update after `iteration` others has."""
        done = min(1.0, iteration / max(1, self.iterations))
        return self.final_rate + (1 - self.final_rate) * (1 + math.cos(math.pi * done)) / 2

    @property
    def extends(self) -> bool:
        """Whether a run of fewer iterations is the beginning of this one."""
        return self.final_rate == 1
