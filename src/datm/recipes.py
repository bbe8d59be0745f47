"""Every recipe by name: the digits demonstrations and the paper's CIFAR-10 rows.

A recipe is one record of settings; beside it stands where they come from, what was published for
them and what they cost. Settings of the CIFAR-10 rows: DATM's released configurations.
"""

import difflib
from dataclasses import dataclass

from pydantic import Field

from datm.data import DataConfig
from datm.distillation.config import DistillConfig
from datm.errors import InputError
from datm.evaluation import EvaluateConfig
from datm.matching.window import MatchConfig
from datm.runtime.device import Runtime
from datm.runtime.settings import settings
from datm.teaching import TeachConfig


@settings
class Recipe:
    """All settings of a run."""

    name: str = Field(description="names the run folder and the distilled set")
    seed: int = Field(default=0, ge=0, description="all randomness of the run comes from it")
    runtime: Runtime = Field(default_factory=Runtime)
    data: DataConfig = Field(default_factory=DataConfig)
    teach: TeachConfig = Field(default_factory=TeachConfig)
    distill: DistillConfig = Field(default_factory=DistillConfig)
    evaluate: EvaluateConfig = Field(default_factory=EvaluateConfig)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A recipe and what is known of it."""

    recipe: Recipe
    summary: str
    source: str
    published: str = ""
    """accuracy in %, as published for this setting"""
    measured: str = ""
    """accuracy in % that this software reached, with hardware and date"""
    cost: str = ""
    """time and disk to expect"""


DATM = "DATM (Guo 2024), released configuration"


def recipe(name: str) -> Recipe:
    """The recipe of that name. Raises InputError, with the nearest name, if there is none."""
    if name not in RECIPES:
        close = difflib.get_close_matches(name, RECIPES, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(RECIPES)}."
        raise InputError(f"recipe: {name!r} is not known; {hint}")
    return RECIPES[name].recipe


def _digits(name: str, ipc: int, match: MatchConfig, *, iterations: int) -> Recipe:
    return Recipe(
        name=name,
        runtime=Runtime(compile=True),
        teach=TeachConfig(
            network="convnet-2,width=32",
            teachers=5,
            epochs=40,
            batch=100,
            learning_rate=0.03,
            augmentation="crop_scale_rotate",
        ),
        distill=DistillConfig(
            ipc=ipc,
            match=match,
            iterations=iterations,
            step_size=0.02,
            images_lr=100,
            labels_lr=2,
            step_size_lr=1e-5,
            validate_every=50,
            validate_epochs=200,
        ),
        evaluate=EvaluateConfig(epochs=500, full_epochs=100, random_multiples=(2, 5, 10)),
    )


def _cifar10(
    ipc: int, match: MatchConfig, *, images_lr: float, labels_lr: float, step_size_lr: float
) -> Recipe:
    return Recipe(
        name=f"cifar10-ipc{ipc}",
        runtime=Runtime(compile=True, precision="bfloat16"),
        data=DataConfig(source="cifar10", transform="zca"),
        teach=TeachConfig(
            network="convnet-3",
            teachers=100,
            epochs=max(match.last_upper + match.teacher_epochs, 20),
        ),
        distill=DistillConfig(
            ipc=ipc,
            match=match,
            iterations=10_000,
            step_size=0.01,
            images_lr=images_lr,
            labels_lr=labels_lr,
            step_size_lr=step_size_lr,
            validate_every=200,
        ),
        evaluate=EvaluateConfig(batch=128, learning_rates=(0.01,)),
    )


_IPC10 = MatchConfig(
    inner_steps=20, teacher_epochs=2, batch=100, lower=0, first_upper=5, last_upper=20, expansion=150
)

RECIPES: dict[str, Entry] = {
    entry.recipe.name: entry
    for entry in [
        Entry(
            recipe=_digits("digits", 10, _IPC10, iterations=200),
            summary="the demonstration: 10 digits of each class instead of 100",
            source="ours",
        ),
        Entry(
            recipe=_cifar10(
                1,
                MatchConfig(inner_steps=80, teacher_epochs=2, batch=10, last_upper=4),
                images_lr=100,
                labels_lr=5,
                step_size_lr=1e-7,
            ),
            summary="CIFAR-10, one image per class",
            source=DATM,
            published="46.9 ± 0.5",
        ),
    ]
}
