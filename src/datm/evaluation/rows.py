"""What one line of an evaluation trains on.

Shapes: n images, c channels, H height, W width, K classes.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from datm.baselines import TrainingSet, random_real
from datm.data import DataSet
from datm.errors import InputError
from datm.evaluation.made import Made
from datm.evaluation.train import Protocol
from datm.matching.objective import hard_logits
from datm.runtime.seeds import derived_seed

if TYPE_CHECKING:
    from datm.distillation import DistilledSet

Record = dict[str, Any]
SELECTION = -1
"""The draw of real images that a learning rate is chosen with: none of the evaluated ones."""


@dataclass(frozen=True)
class Row:
    """A line to be filled: what to train on (network number -> training set), and how."""

    what: str
    model: str
    ipc: int | None
    seeds: int
    count: int
    labels: str
    source: str
    """fingerprint of the images that the training sets come from"""
    protocol: Protocol
    learning_rates: tuple[float, ...]
    images: Callable[[int], TrainingSet]
    selection_images: Callable[[], TrainingSet]
    made: Made | None = None
    """what makes the one training set of all networks, where that takes work"""
    pieces: int = 1
    """images to train on that each stored one is cut into; `count` is the number of all of them"""

    def at(self, learning_rate: float) -> Protocol:
        return replace(self.protocol, learning_rate=learning_rate)

    def key(self, place: str) -> str:
        """Names all that decides this row's accuracies: equal keys, equal results.

        `place` stands for what all rows share. How many networks there are decides none of them.
        """
        facts = [self.what, self.model, self.ipc, self.source, place]
        text = json.dumps([*facts, self.at(0.0).describe(self.count), self.learning_rates])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def record(self, key: str) -> Record:
        """An empty record: accuracies are fractions, one per network as it is trained.

        images: as they are stored; pieces: what each is cut into to be trained on, if it is;
        per_class: for each class the mean over networks, None without images to judge by.
        """
        pieces = {"pieces": self.pieces} if self.pieces > 1 else {}
        return {
            "what": self.what,
            "model": self.model,
            "ipc": self.ipc,
            "images": self.count // self.pieces,
            **pieces,
            "accuracies": [],
            "mean": None,
            "std": None,
            "per_class": None,
            "protocol": None,
            "seconds": 0.0,
            "key": key,
        }


def distilled_row(
    what: str, model: str, distilled: "DistilledSet", protocol: Protocol, seeds: int
) -> Row:
    """A distilled set (or what it was before), its own step size as learning rate."""
    training_set = distilled.images, distilled.logits

    def images(_: int = 0) -> TrainingSet:
        return training_set

    return Row(
        what,
        model,
        distilled.ipc,
        seeds,
        len(distilled),
        "soft",
        distilled.fingerprint(),
        protocol,
        (distilled.step_size,),
        images,
        images,
        pieces=distilled.formation**2,
    )


def random_row(
    model: str,
    data: DataSet,
    ipc: int,
    protocol: Protocol,
    rates: tuple[float, ...],
    seeds: int,
    seed: int,
) -> Row:
    """`ipc` random real images a class, another draw for each network and each `seed`."""
    classes = len(data.classes)
    count = len(random_real(data.train.labels, classes, ipc, seed))
    if ipc < 1 or count == 0:
        raise InputError(f"ipc: {ipc} images a class leave nothing to train on; give 1 or more.")

    def images(number: int) -> TrainingSet:
        draw = derived_seed(seed, "random images", number)
        rows = random_real(data.train.labels, classes, ipc, draw)
        chosen = data.train.select(rows.to(data.train.labels.device))
        return data.transform(chosen.images), hard_logits(chosen.labels, classes)

    return Row(
        "random",
        model,
        ipc,
        seeds,
        count,
        "hard",
        data.fingerprint,
        protocol,
        rates,
        images,
        lambda: images(SELECTION),
    )


def made_row(
    what: str,
    model: str,
    data: DataSet,
    ipc: int,
    protocol: Protocol,
    rates: tuple[float, ...],
    seeds: int,
    made: Made,
) -> Row:
    """One set of images with hard labels, chosen or synthesised; trained on as random ones are."""
    return Row(
        what,
        model,
        ipc,
        seeds,
        len(random_real(data.train.labels, len(data.classes), ipc, 0)),
        "hard",
        json.dumps([data.fingerprint, made.facts]),
        protocol,
        rates,
        made,
        made,
        made,
    )


def full_row(
    model: str,
    data: DataSet,
    protocol: Protocol,
    epochs: int,
    rates: tuple[float, ...],
    seeds: int,
) -> Row:
    """All real training images, those held out for validation included.

    A learning rate is chosen without the validation images, then used with them.
    """
    classes = len(data.classes)

    def of(images: Tensor, labels: Tensor) -> TrainingSet:
        return data.transform(images), hard_logits(labels, classes)

    def everything(_: int) -> TrainingSet:
        images = torch.cat([data.train.images, data.validation.images])
        return of(images, torch.cat([data.train.labels, data.validation.labels]))

    return Row(
        "full",
        model,
        None,
        seeds,
        len(data.train) + len(data.validation),
        "hard",
        data.fingerprint,
        replace(protocol, epochs=epochs),
        rates,
        everything,
        lambda: of(data.train.images, data.train.labels),
    )
