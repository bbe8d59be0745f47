"""Any recipe made small: "does it work here, before I spend a day?"

Network, data set, images per class and everything that could fail stay; only counts shrink, so
that each stage takes about a minute on a CPU. The accuracies mean nothing.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from datm.data import DataSet, Split
from datm.runtime.seeds import generator

if TYPE_CHECKING:
    from datm.recipes import Recipe

SUFFIX = "-smoke"
EPOCHS = 3
TRAIN, VALIDATION, TEST = 20, 5, 20  # images per class


def smoke_recipe(recipe: "Recipe") -> "Recipe":
    """`recipe` with few teachers, epochs, iterations and evaluation networks."""
    match = recipe.distill.match
    passes = max(1, min(20, 200 // recipe.distill.ipc))
    return replace(
        recipe,
        name=recipe.name.removesuffix(SUFFIX) + SUFFIX,
        teach=replace(
            recipe.teach,
            teachers=min(recipe.teach.teachers, 2),
            epochs=EPOCHS,
            batch=min(recipe.teach.batch, 50),
        ),
        distill=replace(
            recipe.distill,
            match=replace(
                match,
                inner_steps=min(match.inner_steps, 5),
                teacher_epochs=1,
                batch=min(match.batch, 50),
                lower=0,
                first_upper=None if match.first_upper is None else 1,
                last_upper=EPOCHS - 1,
                expansion=min(match.expansion, 2),
                segments=min(match.segments, 2),
            ),
            iterations=min(recipe.distill.iterations, 6),
            validate_every=3,
            validate_networks=1,
            validate_epochs=passes,
        ),
        evaluate=replace(
            recipe.evaluate,
            models=recipe.evaluate.models[:1],
            seeds=2,
            epochs=passes,
            full_epochs=max(1, passes // 4),
            learning_rates=recipe.evaluate.learning_rates[:1],
            random_multiples=(),
        ),
    )


def smoke_data(data: DataSet, ipc: int) -> DataSet:
    """A few images of each class, more than `ipc` of them to train on; the transform stays."""
    return replace(
        data,
        train=_few(data.train, max(TRAIN, ipc + max(5, ipc // 20)), "train"),
        validation=_few(data.validation, VALIDATION, "validation"),
        test=_few(data.test, TEST, "test"),
    )


def _few(split: Split, count: int, name: str) -> Split:
    """At most `count` random images of each class, in the split's order."""
    order = torch.randperm(len(split), generator=generator(0, "smoke", name))
    labels = split.labels.cpu()[order]
    kept = [order[labels == k][:count] for k in sorted(set(labels.tolist()))]
    return split.select(torch.cat(kept).sort().values if kept else order)
