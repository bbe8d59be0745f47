"""The published methods, each as settings of the one machine, laid over any recipe.

A method decides what is matched, how teachers are trained and what becomes of the labels. It keeps
the recipe's data, network, budget, formation, learning rates and the last epoch that segments start
at, so that methods laid over one recipe differ in nothing else. `mtt-cifar10-ipc10` and the like
are the published settings of a method in full.

The methods are those published for balanced data. What a recipe has for long-tailed data
(weights of the last layer, correction by the class shares, a balanced classifier) is off under
every one of them; overrides put it back.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from datm.distillation.config import DistillConfig
from datm.errors import InputError
from datm.matching import MatchConfig
from datm.teaching import TeachConfig

if TYPE_CHECKING:
    from datm.recipes import Recipe

Method = Callable[["Recipe"], "Recipe"]

LAST_TENTH = 10.0
"""An exponential average over the last tenth of the updates: 0.999 for 10,000 of them, FTD's."""

MATCHING = (
    *("gradient", "skip_depth", "skip_lowest", "nearest", "flip", "data_share"),
    *("backbone_weight", "classifier_weight", "prior_correction"),
)
TEACHING = ("optimiser", "order", "classifier")
DISTILLING = ("ema",)
"""Fields whose defaults are the plain way, from which methods and long-tailed recipes depart."""

DEPTHS = ((10, 0.0), (50, 0.25), (500, 0.5), (math.inf, 0.75))
"""PAD's share of skipped parameters for fewer images per class than the first number."""


def mtt(recipe: "Recipe") -> "Recipe":
    """MTT (Cazenavette et al. 2022): the first to match trajectories.

    Any real images with hard labels to begin with, and only pixels and step size learned.
    Segments start anywhere from epoch 0 on; no segment is refused.
    Its unrolled gradient is the exact one, which is made in less memory here.
    """
    base = _plain(recipe)
    match = replace(base.distill.match, lower=0, first_upper=None, expansion=0)
    distill = replace(base.distill, match=match, initial="any", labels="hard", threshold=math.inf)
    return replace(base, distill=distill)


def ftd(recipe: "Recipe") -> "Recipe":
    """FTD (Du et al. 2023): MTT with errors that grow less along the way.

    Teachers look for flat minima, by sharpness-aware steps (GSAM, adaptive).
    What is distilled is a moving average of the pixels.
    All else as in MTT.
    """
    base = mtt(recipe)
    decay = max(0.0, 1 - LAST_TENTH / max(1, recipe.distill.iterations))
    return replace(
        base,
        teach=replace(base.teach, optimiser="ftd"),
        distill=replace(base.distill, ema=decay),
    )


def tesla(recipe: "Recipe") -> "Recipe":
    """TESLA (Cui et al. 2023): MTT in memory that does not grow with the inner steps.

    The gradient takes each step's parameters as constants: an estimate for more than one step.
    Labels are the teachers' soft ones, fixed.
    All else as in MTT.
    """
    base = mtt(recipe)
    match = replace(base.distill.match, gradient="tesla")
    return replace(base, distill=replace(base.distill, match=match, labels="fixed"))


def datm(recipe: "Recipe") -> "Recipe":
    """DATM (Guo et al. 2024): segments as hard as the number of images can hold.

    The recipe's window of start epochs, from T- to an upper bound that grows from T to T+.
    Images to begin with that the teachers classify correctly; their soft labels are learned on.
    Segments with a matching loss above 1 change nothing. The exact gradient.
    """
    base = _plain(recipe)
    distill = replace(base.distill, initial="correct", labels="learned", threshold=1.0)
    return replace(base, distill=distill)


def pad(recipe: "Recipe") -> "Recipe":
    """PAD (Li et al. 2024): DATM with the noise of unsuitable data and parameters left out.

    Teachers see the easiest images first, then all, then fewer and fewer of the easy ones.
    The first parameters in order of depth stay out of the matching loss: a quarter of them at 10
    images per class, half at 50, three quarters at 500. All else as in DATM.
    """
    base = datm(recipe)
    share = next(share for below, share in DEPTHS if recipe.distill.ipc < below)
    match = replace(base.distill.match, skip_depth=share)
    return replace(
        base,
        teach=replace(base.teach, order="el2n"),
        distill=replace(base.distill, match=match),
    )


METHODS: dict[str, Method] = {"mtt": mtt, "ftd": ftd, "tesla": tesla, "datm": datm, "pad": pad}


def apply_method(name: str, recipe: "Recipe") -> "Recipe":
    """`recipe` under the method of that name, which its own name then ends in.

    Laid over again, a method only renews what it derives from the recipe. Raises InputError for an
    unknown name.
    """
    if name not in METHODS:
        raise InputError(f"method: {name!r} is not known; give one of {', '.join(METHODS)}.")
    plain = recipe.name.removesuffix(f"-{name}")
    return replace(METHODS[name](recipe), name=f"{plain}-{name}")


def _plain(recipe: "Recipe") -> "Recipe":
    """`recipe` without any variant: the fields' defaults, and so the exact gradient of the whole
    distance to the student's last step, and teachers by SGD on shuffled images."""
    distill = recipe.distill
    match = replace(distill.match, **_defaults(MatchConfig(), MATCHING))
    return replace(
        recipe,
        teach=replace(recipe.teach, **_defaults(TeachConfig(), TEACHING)),
        distill=replace(distill, match=match, **_defaults(DistillConfig(), DISTILLING)),
    )


def _defaults(plain: object, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(plain, name) for name in names}
