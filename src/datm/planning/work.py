"""How much work each stage of a run is: which steps it takes, and how many of each.

Nothing is timed here. The counts are those of teaching/, distillation/loop.py and
evaluation/protocol.py to the last step.

Letters: K classes, S synthetic images, B batch, N inner steps, n real images, G side by side.
"""

import math
from collections import Counter
from dataclasses import dataclass, replace

from datm.batches import BatchStream
from datm.evaluation import Protocol
from datm.evaluation.made import CHOSEN, SYNTHETIC
from datm.matching import on_real_images
from datm.networks.accuracy import CHUNK, STATISTICS_PIXELS, chunk_of
from datm.planning.outline import Kind, Outline, Step, Work

GRADIENTS = {"sgd": 1, "ftd": 2}
"""Gradients that one step of a teacher takes on each of its batches, by optimiser."""


def stages(outline: Outline) -> dict[str, Work]:
    """The work of each stage, in the order of the run."""
    return {"teach": teach(outline), "distil": distil(outline), "evaluate": evaluate(outline)}


def teach(outline: Outline) -> Work:
    """Every teacher's steps, and its accuracies after each epoch and before the first."""
    if not outline.made:
        return Counter()
    config, sizes = outline.recipe.teach, outline.sizes
    groups = _groups(config.teachers, outline.at_once)
    work: Work = Counter()
    for images, epochs in _lessons(outline).items():
        steps = epochs * BatchStream(images, config.batch, 0).steps_per_epoch
        # A balanced batch draws with replacement: no class is too small for it.
        balanced = [config.batch] if config.classifier == "balanced" else []
        for batch in (min(config.batch, images), *balanced):
            step = Step("gradient", outline.network, batch, config.augmentation)
            for side, times in groups.items():
                work[replace(step, side=side)] += times * steps * GRADIENTS[config.optimiser]
    reports = config.teachers * (config.epochs + 1)
    for held_out in (sizes.validation, sizes.test):
        work += _judged(outline, outline.network, held_out, sizes.train, reports)
    return work + _scoring(outline)


def _lessons(outline: Outline) -> Counter[int]:
    """How many epochs of a teacher take how many images."""
    config, sizes = outline.recipe.teach, outline.sizes
    if config.order == "shuffle":
        return Counter({sizes.train: config.epochs})
    return Counter(
        config.curriculum.images(sizes.per_class, epoch) for epoch in range(1, config.epochs + 1)
    )


def _scoring(outline: Outline) -> Work:
    """The networks that order the images by difficulty: plain steps, then scores of all images."""
    config, train = outline.recipe.teach, outline.sizes.train
    if config.order == "shuffle":
        return Counter()
    curriculum = config.curriculum
    protocol = Protocol(
        learning_rate=0.0,
        epochs=curriculum.network_epochs,
        batch=config.batch,
        augmentation=config.augmentation,
    )
    work = _trained(outline.network, protocol, train, curriculum.networks, outline.at_once)
    return work + _judged(outline, outline.network, train, train, curriculum.networks)


def distil(outline: Outline) -> Work:
    """The teachers' opinions, the students' training and the validations."""
    config, sizes = outline.recipe.distill, outline.sizes
    match = config.match
    step = Step("match", outline.network, outline.match_batch, outline.augmentation)
    at_once = 1 if match.gradient == "unrolled" else outline.at_once
    work: Work = Counter()
    for side, times in _groups(match.segments, at_once).items():
        work[replace(step, side=side)] += times * config.iterations * match.inner_steps
        if judged := sum(on_real_images(match, number) for number in range(config.iterations)):
            if match.data_skip:
                before = replace(step, kind="gradient", side=side)
                work[before] += times * judged * match.data_skip // 2
            real = Step("gradient", outline.network, match.data_batch, "none", side=side)
            work[real] += times * judged
    if config.begin_with is None:
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
        work += _chosen(outline, model)
    return work + _synthesised(outline)


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
    protocol, real = _protocol(outline), outline.real
    several = len(config.learning_rates) > 1 and sizes.validation > 0
    rates = len(config.learning_rates) if several else 0
    rows = [_Row(count, protocol, config.seeds)]
    if "initial" in config.baselines:
        rows.append(_Row(count, protocol, config.seeds))
    if "random" in config.baselines:
        rows.append(_Row(real, protocol, config.seeds, rates, real))
        few = min(config.seeds, config.multiple_seeds)
        for multiple in config.random_multiples:
            ipc = outline.recipe.distill.ipc * multiple
            if ipc * sizes.classes <= sizes.train:
                epochs = min(config.epochs, max(config.full_epochs, config.epochs // multiple))
                there = sum(min(ipc, images) for images in sizes.per_class)
                rows.append(_Row(there, replace(protocol, epochs=epochs), few, rates, there))
    made = [what for what in (*CHOSEN, *SYNTHETIC) if what in config.baselines]
    rows += [_Row(real, protocol, config.seeds, rates, real)] * len(made)
    if "full" in config.baselines:
        full = replace(protocol, epochs=config.full_epochs)
        networks = config.full_seeds or config.seeds
        rows.append(_Row(sizes.train + sizes.validation, full, networks, rates, sizes.train))
    return rows


def _protocol(outline: Outline) -> Protocol:
    """How networks are trained on the distilled set."""
    config = outline.recipe.evaluate
    augmentation = outline.augmentation if config.augmentation is None else config.augmentation
    return Protocol(
        learning_rate=0.0, epochs=config.epochs, batch=config.batch, augmentation=augmentation
    )


def _chosen(outline: Outline, model: str) -> Work:
    """What herding and k-center take: a network trained on all images, and its features of them."""
    config, train = outline.recipe.evaluate, outline.sizes.train
    if not set(CHOSEN) & set(config.baselines):
        return Counter()
    protocol = replace(_protocol(outline), epochs=config.coresets.epochs)
    features = Counter({Step("scores", model, CHUNK): math.ceil(train / CHUNK)})
    return _trained(model, protocol, train, 1) + features


def _synthesised(outline: Outline) -> Work:
    """What DM and DSA take to make their images."""
    config, ipc = outline.recipe.evaluate, outline.recipe.distill.ipc
    augmentation = _protocol(outline).augmentation
    work: Work = Counter()

    def classes(kind: Kind, most: int, times: int) -> Work:
        found: Work = Counter()
        for images in filter(None, outline.sizes.per_class):
            own = min(ipc, images)
            step = Step(kind, outline.network, min(most, images), augmentation, synthetic=own)
            found[step] += times
        return found

    if "dm" in config.baselines:
        work += classes("dm", config.dm.batch, config.dm.iterations)
    if "dsa" in config.baselines:
        outer, inner = config.dsa.loops(ipc)
        work += classes("dsa", config.dsa.batch, config.dsa.iterations * outer)
        stream = BatchStream(outline.real, config.dsa.network_batch, 0)
        steps = config.dsa.iterations * (outer - 1) * inner * stream.steps_per_epoch
        work[Step("gradient", outline.network, stream.batch, augmentation)] += steps
    return work


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
    chunk = chunk_of(images, outline.recipe.runtime.compile)
    return Counter(
        {
            Step("scores", network, chunk): times * math.ceil(images / chunk),
            Step("statistics", network, sample): times,
        }
    )
