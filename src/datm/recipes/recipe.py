"""What a recipe is: all settings of a run, and what is known of them."""

from dataclasses import dataclass

from pydantic import Field

from datm.data import DataConfig
from datm.distillation.config import DistillConfig
from datm.evaluation import EvaluateConfig
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
    """method and paper"""
    settings: str
    """where the figures come from: the release, the paper's table, another cell"""
    published: str = ""
    """accuracy in %, as published for this setting"""
    published_in: str = ""
    """the paper and table that has it, where that is not the source's own"""
    differs: str = ""
    """where paper, release and this recipe disagree"""
    always_differs: str = ""
    """where all recipes of the source do"""
    measured: str = ""
    """accuracy in % that this software reached, with hardware and date"""
    cost: str = ""
    """time and disk to expect"""
