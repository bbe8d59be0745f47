"""Any recipe made small: "does it work here, before I spend a day?"

Network, data set, method and everything that could fail stay; only counts shrink, so that each
stage takes about a minute on a CPU. The accuracies mean nothing.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from datm.data import DataSet, Split
from datm.evaluation import EvaluateConfig
from datm.matching import MatchConfig
from datm.runtime.seeds import generator
from datm.teaching import TeachConfig

if TYPE_CHECKING:
    from datm.recipes import Recipe

SUFFIX = "-smoke"
EPOCHS = 3
IPC = 2
PASSES = 1
TRAIN, VALIDATION, TEST = 200, 50, 200  # images in all, at least one of each class


def smoke_recipe(recipe: "Recipe") -> "Recipe":
    """`recipe` with few images, teachers, epochs, iterations and evaluation networks."""
    return replace(
        recipe,
        name=recipe.name.removesuffix(SUFFIX) + SUFFIX,
        teach=_few_epochs(recipe.teach),
        distill=replace(
            recipe.distill,
            ipc=min(recipe.distill.ipc, IPC),
            match=_few_steps(recipe.distill.match),
            begin_with=None,  # of all the data, in another size
            iterations=min(recipe.distill.iterations, 4),
            validate_every=4,
            validate_networks=1,
            validate_epochs=PASSES,
        ),
        evaluate=_few_networks(recipe.evaluate),
    )


def _few_epochs(teach: TeachConfig) -> TeachConfig:
    return replace(
        teach,
        teachers=min(teach.teachers, 2),
        epochs=EPOCHS,
        batch=min(teach.batch, 50),
        curriculum=replace(
            teach.curriculum,
            networks=1,
            network_epochs=1,
            complete_after=1,
            drop_after=1,
            drop_until=EPOCHS - 1,
        ),
    )


def _few_steps(match: MatchConfig) -> MatchConfig:
    return replace(
        match,
        inner_steps=min(match.inner_steps, 3),
        teacher_epochs=1,
        batch=min(match.batch, 10),
        lower=0,
        first_upper=None if match.first_upper is None else 1,
        last_upper=EPOCHS - 1,
        expansion=min(match.expansion, 2),
        segments=min(match.segments, 2),
        data_from=min(match.data_from, 2),
        data_skip=min(match.data_skip, 3),
        data_batch=min(match.data_batch, 50),
    )


def _few_networks(evaluate: EvaluateConfig) -> EvaluateConfig:
    dsa = replace(evaluate.dsa, iterations=2, outer=2, inner=1, batch=min(evaluate.dsa.batch, 5))
    return replace(
        evaluate,
        models=evaluate.models[:1],
        seeds=2,
        epochs=PASSES,
        full_epochs=1,
        full_seeds=1,
        learning_rates=evaluate.learning_rates[:1],
        random_multiples=(),
        coresets=replace(evaluate.coresets, epochs=1),
        dm=replace(evaluate.dm, iterations=2, batch=min(evaluate.dm.batch, 5)),
        dsa=dsa,
    )


def smoke_data(data: DataSet, ipc: int) -> DataSet:
    """A few images of each class, more than `ipc` of them to train on; the transform stays."""
    classes = len(data.classes)
    spare = max(1, VALIDATION // classes, ipc // 20)
    return replace(
        data,
        train=_few(data.train, max(TRAIN // classes, ipc + spare), "train"),
        validation=_few(data.validation, max(1, VALIDATION // classes), "validation"),
        test=_few(data.test, max(1, TEST // classes), "test"),
    )


def _few(split: Split, count: int, name: str) -> Split:
    """At most `count` random images of each class, in the split's order."""
    order = torch.randperm(len(split), generator=generator(0, "smoke", name))
    labels = split.labels.cpu()[order]
    kept = [order[labels == k][:count] for k in sorted(set(labels.tolist()))]
    return split.select(torch.cat(kept).sort().values if kept else order)
