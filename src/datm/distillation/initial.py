"""What distillation begins with: real images and their first soft labels (Guo 2024, 3.3).

Rule: of each class, random images that more than half of the teachers classify correctly at their
last epoch. A class with too few is filled up with those that most teachers get right. The label is
the mean of the logits of the teachers that are right, or of all teachers where none is. Where a
long tail leaves a class fewer images than that, they are repeated in turn. Or a set that was
distilled before.

Shapes: n images, S = K x ipc chosen ones, K classes.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from datm.data import DataSet
from datm.distillation.config import DistillConfig
from datm.distillation.distilled_set import DistilledSet
from datm.errors import InputError
from datm.networks import Network, Predictor
from datm.runtime.logs import Console
from datm.runtime.seeds import generator
from datm.teaching import Trajectories


@dataclass(frozen=True)
class Opinion:
    """What the teachers say of every training image at their last epoch.

    right [n] int64: how many teachers classify it correctly; logits [n, K]: the first soft label.
    """

    right: Tensor
    logits: Tensor
    teachers: int


def earlier_set(data: DataSet, config: DistillConfig) -> DistilledSet | None:
    """The set of `begin_with`, if any. Raises InputError where it is not of these data or size."""
    if config.begin_with is None:
        return None
    found = DistilledSet.load(config.begin_with)
    what = f"distill.begin_with: the set in {config.begin_with} was distilled from"
    data.check_same(found.meta.get("data", {}), what)
    if found.ipc != config.ipc:
        raise InputError(
            f"distill.begin_with: the set in {config.begin_with} has {found.ipc} images per class,"
            f" distill.ipc is {config.ipc}; give one of its size."
        )
    return found


def check_ipc(data: DataSet, ipc: int) -> None:
    """Raises InputError where no class has `ipc` training images, or one has none at all."""
    counts = torch.bincount(data.train.labels, minlength=len(data.classes))
    largest, smallest = int(counts.argmax()), int(counts.argmin())
    if not counts[smallest]:
        raise InputError(f"data: class {data.classes[smallest]!r} has no training image; add some.")
    if counts[largest] < ipc:
        raise InputError(
            f"ipc: {ipc} images per class were asked for, but the largest class,"
            f" {data.classes[largest]!r}, has {int(counts[largest])} training images; lower ipc."
        )


def ask_teachers(
    data: DataSet, trajectories: Trajectories, network: Network, compile: bool
) -> Opinion:
    """Every teacher's scores on the training images, reduced to an `Opinion`."""
    labels = data.train.labels
    images = data.transform(data.train.images)
    predictor = Predictor(network, compile)
    right = torch.zeros_like(labels)
    of_right = torch.zeros(len(labels), len(data.classes), device=labels.device)
    of_all = torch.zeros_like(of_right)
    for teacher in range(len(trajectories)):
        params = trajectories.weights(teacher, trajectories.epochs).to(labels.device)
        scores = predictor.scores(params, images, reference=images)
        hit = scores.argmax(1) == labels
        right += hit
        of_right += scores * hit[:, None]
        of_all += scores
    mean_of_right = of_right / right.clamp(min=1)[:, None]
    logits = torch.where(right[:, None] > 0, mean_of_right, of_all / len(trajectories))
    return Opinion(right, logits, len(trajectories))


def choose_initial(
    data: DataSet, opinion: Opinion, config: DistillConfig, seed: int, console: Console
) -> Tensor:
    """Rows [S] int64 of the training split to begin with, in class order."""
    chosen = []
    majority = opinion.teachers // 2 + 1
    for number, name in enumerate(data.classes):
        rows = (data.train.labels == number).nonzero().squeeze(1).cpu()
        draw = generator(seed, "initial", number)
        rows = rows[torch.randperm(len(rows), generator=draw)]
        wanted = min(config.ipc, len(rows))
        if config.initial == "correct":
            right = opinion.right.cpu()[rows].clamp(max=majority)
            enough = int((right == majority).sum())
            if enough < wanted:
                console.warn(
                    f"class {name!r}: most teachers classify only {enough} of its images"
                    f" correctly; {wanted - enough} others fill up its {wanted}."
                )
            rows = rows[right.argsort(descending=True, stable=True)]
        if wanted < config.ipc:
            console.warn(
                f"class {name!r}: has only {wanted} training images; {config.ipc - wanted} of its"
                f" {config.ipc} begin as repeats."
            )
        chosen.append(rows[torch.arange(config.ipc) % len(rows)])
    return torch.cat(chosen)
