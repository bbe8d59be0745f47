"""What distillation begins with: real images and their first soft labels (Guo 2024, 3.3).

Rule: of each class, random images that more than half of the teachers classify correctly at their
last epoch. A class with too few is filled up with those that most teachers get right. The label is
the mean of the logits of the teachers that are right, or of all teachers where none is. Where a
long tail leaves a class fewer images than that, they are repeated in turn. Or a set that was
distilled before.

Shapes: n images, S = K x ipc x F^2 chosen ones (F: see formation.py), K classes.
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
    theirs, ours = (found.ipc, found.formation), (config.ipc, config.formation)
    for name, its, asked in zip(("ipc", "formation"), theirs, ours, strict=True):
        if its != asked:
            words = f"{its} images per class" if name == "ipc" else f"the formation {its}"
            raise InputError(
                f"distill.begin_with: the set in {config.begin_with} has {words},"
                f" distill.{name} is {asked}; give one like it."
            )
    return found


def check_ipc(data: DataSet, ipc: int, formation: int = 1) -> None:
    """Raises InputError where no class has the training images for it, or one has none at all."""
    counts = torch.bincount(data.train.labels, minlength=len(data.classes))
    largest, smallest = int(counts.argmax()), int(counts.argmin())
    if not counts[smallest]:
        raise InputError(f"data: class {data.classes[smallest]!r} has no training image; add some.")
    if counts[largest] < ipc * formation**2:
        pieces = f", {formation**2} in each," if formation > 1 else ""
        raise InputError(
            f"ipc: {ipc} images per class{pieces} were asked for, but the largest class,"
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
    needed = config.formed
    majority = opinion.teachers // 2 + 1
    for number, name in enumerate(data.classes):
        rows = (data.train.labels == number).nonzero().squeeze(1).cpu()
        draw = generator(seed, "initial", number)
        rows = rows[torch.randperm(len(rows), generator=draw)]
        wanted = min(needed, len(rows))
        if config.initial == "correct":
            right = opinion.right.cpu()[rows].clamp(max=majority)
            enough = int((right == majority).sum())
            if enough < wanted:
                console.warn(
                    f"class {name!r}: most teachers classify only {enough} of its images"
                    f" correctly; {wanted - enough} others fill up its {wanted}."
                )
            rows = rows[right.argsort(descending=True, stable=True)]
        if wanted < needed:
            console.warn(
                f"class {name!r}: has only {wanted} training images; {needed - wanted} of its"
                f" {needed} begin as repeats."
            )
        chosen.append(rows[torch.arange(needed) % len(rows)])
    return torch.cat(chosen)
