"""How much work each stage of a run is: which steps it takes, and how many of each.

Nothing is timed here. The counts are those of teaching/train.py, distillation/loop.py and
evaluation/protocol.py to the last step.

Letters: K classes, S synthetic images, B batch, N inner steps, n real images, G side by side.
"""

import math
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import torch

from datm.batches import BatchStream
from datm.data import DataSet
from datm.evaluation import Protocol
from datm.networks.accuracy import CHUNK, STATISTICS_PIXELS

if TYPE_CHECKING:
    from datm.recipes import Recipe

Kind = Literal["gradient", "match", "scores", "statistics"]


@dataclass(frozen=True)
class Step:
    """One kind of step: what is measured once and multiplied.

    gradient: a step of training on `batch` images; match: an inner step of a matching gradient,
    both sweeps; scores: class scores of one chunk of images; statistics: those of batch
    normalisation over `batch` images (nothing for other norms). side: G, the networks or segments
    that take the step at once, each on its own `batch` images.
    """

    kind: Kind
    network: str
    batch: int
    augmentation: str = "none"
    side: int = 1

    @property
    def images(self) -> int:
        """All images of the step."""
        return self.batch * self.side


Work = Counter[Step]
"""How often each step is taken."""


@dataclass(frozen=True)
class Sizes:
    """What a plan needs to know of the data: images of each split, and of each class to train on.

    shape: (c, H, W) of an image.
    """

    shape: tuple[int, int, int]
    per_class: tuple[int, ...]
    validation: int
    test: int
    zca: bool = False

    @classmethod
    def of(cls, data: DataSet) -> "Sizes":
        counts = torch.bincount(data.train.labels, minlength=len(data.classes)).tolist()
        zca = data.transform.kind == "zca"
        return cls(data.shape, tuple(counts), len(data.validation), len(data.test), zca)

    @property
    def train(self) -> int:
        return sum(self.per_class)

    @property
    def classes(self) -> int:
        """K."""
        return len(self.per_class)

    @property
    def pixels(self) -> int:
        """D, the numbers in one image."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Outline:
    """A run as far as its cost depends on it.

    network: the teachers' spec; models: specs of those evaluated; made: whether the teachers are
    trained by this run; teachers, augmentation: of those that are there in the end.
    """

    recipe: "Recipe"
    sizes: Sizes
    network: str
    models: tuple[str, ...]
    teachers: int
    augmentation: str
    made: bool = True

    @property
    def synthetic(self) -> int:
        """S."""
        return self.recipe.distill.ipc * self.sizes.classes

    @property
    def at_once(self) -> int:
        """G, at most."""
        return self.recipe.runtime.side_by_side

    @property
    def validations(self) -> int:
        """How often the distilled set is judged on the validation images."""
        config = self.recipe.distill
        if not self.sizes.validation:
            return 0
        last = config.iterations % config.validate_every > 0
        return 1 + config.iterations // config.validate_every + last

    @property
    def match_batch(self) -> int:
        """B, as large as there are images for."""
        return min(self.recipe.distill.match.batch, self.synthetic)


def stages(outline: Outline) -> dict[str, Work]:
    """The work of each stage, in the order of the run."""
    return {"teach": teach(outline), "distil": distil(outline), "evaluate": evaluate(outline)}


def teach(outline: Outline) -> Work:
    """Every teacher's steps, and its accuracies after each epoch and before the first."""
    if not outline.made:
        return Counter()
    config, sizes = outline.recipe.teach, outline.sizes
    stream = BatchStream(sizes.train, config.batch, 0)
    step = Step("gradient", outline.network, stream.batch, config.augmentation)
    work = Counter(
        {
            replace(step, side=side): times * config.epochs * stream.steps_per_epoch
            for side, times in _groups(config.teachers, outline.at_once).items()
        }
    )
    reports = config.teachers * (config.epochs + 1)
    for held_out in (sizes.validation, sizes.test):
        work += _judged(outline, outline.network, held_out, sizes.train, reports)
    return work


def distil(outline: Outline) -> Work:
    """The teachers' opinions, the matched segments and the validations."""
    config, sizes = outline.recipe.distill, outline.sizes
    match = config.match
    step = Step("match", outline.network, outline.match_batch, outline.augmentation)
    at_once = 1 if match.gradient == "unrolled" else outline.at_once
    work = Counter(
        {
            replace(step, side=side): times * config.iterations * match.inner_steps
            for side, times in _groups(match.segments, at_once).items()
        }
    )
    work += _judged(outline, outline.network, sizes.train, sizes.train, outline.teachers)
    protocol = Protocol(
        learning_rate=0.0, epochs=config.validate_epochs, augmentation=outline.augmentation
    )
    networks = outline.validations * config.validate_networks
    work += _trained(outline.network, protocol, outline.synthetic, networks)
    return work + _judged(outline, outline.network, sizes.validation, outline.synthetic, networks)


def evaluate(outline: Outline) -> Work:
    """Every network of every row, and those that the rows' learning rates are chosen by."""
    work: Work = Counter()
    for model in outline.models:
        for row in _rows(outline):
            work += _row(outline, model, row)
    return work


@dataclass(frozen=True)
class _Row:
    """A line of the evaluation: images trained on, for how long, how many networks.

    rates: learning rates tried first, on `selection` images; 0 where there is no choice.
    """

    count: int
    protocol: Protocol
    networks: int
    rates: int = 0
    selection: int = 0


def _rows(outline: Outline) -> list[_Row]:
    """The same rows as evaluation/protocol.py makes."""
    config, sizes, count = outline.recipe.evaluate, outline.sizes, outline.synthetic
    augmentation = outline.augmentation if config.augmentation is None else config.augmentation
    protocol = Protocol(
        learning_rate=0.0, epochs=config.epochs, batch=config.batch, augmentation=augmentation
    )
    several = len(config.learning_rates) > 1 and sizes.validation > 0
    rates = len(config.learning_rates) if several else 0
    rows = [_Row(count, protocol, config.seeds)]
    if "initial" in config.baselines:
        rows.append(_Row(count, protocol, config.seeds))
    if "random" in config.baselines:
        rows.append(_Row(count, protocol, config.seeds, rates, count))
        few = min(config.seeds, config.multiple_seeds)
        for multiple in config.random_multiples:
            ipc = outline.recipe.distill.ipc * multiple
            if ipc * sizes.classes <= sizes.train:
                epochs = min(config.epochs, max(config.full_epochs, config.epochs // multiple))
                there = sum(min(ipc, images) for images in sizes.per_class)
                rows.append(_Row(there, replace(protocol, epochs=epochs), few, rates, there))
    if "full" in config.baselines:
        full = replace(protocol, epochs=config.full_epochs)
        networks = config.full_seeds or config.seeds
        rows.append(_Row(sizes.train + sizes.validation, full, networks, rates, sizes.train))
    return rows


def _row(outline: Outline, model: str, row: _Row) -> Work:
    sizes = outline.sizes
    work = _trained(model, row.protocol, row.count, row.networks, outline.at_once)
    work += _judged(outline, model, sizes.test, row.count, row.networks)
    work += _trained(model, row.protocol, row.selection, row.rates)
    return work + _judged(outline, model, sizes.validation, row.selection, row.rates)


def _trained(network: str, protocol: Protocol, count: int, networks: int, at_once: int = 1) -> Work:
    """`networks` fresh networks trained on `count` images, `at_once` of them side by side."""
    if not networks:
        return Counter()
    step = Step("gradient", network, min(protocol.batch, count), protocol.augmentation)
    return Counter(
        {
            replace(step, side=side): times * protocol.steps(count)
            for side, times in _groups(networks, at_once).items()
        }
    )


def _groups(count: int, at_once: int) -> Counter[int]:
    """How often how many go side by side: as many as may, then those that are left."""
    return Counter([at_once] * (count // at_once) + [count % at_once] * (count % at_once > 0))


def _judged(outline: Outline, network: str, images: int, reference: int, times: int) -> Work:
    """Class scores of `images`, by networks that were trained on `reference` images."""
    if not images or not times:
        return Counter()
    _, height, width = outline.sizes.shape
    sample = min(reference, max(1, STATISTICS_PIXELS // (height * width)))
    return Counter(
        {
            Step("scores", network, CHUNK): times * math.ceil(images / CHUNK),
            Step("statistics", network, sample): times,
        }
    )
