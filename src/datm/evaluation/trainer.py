"""One kind of network: trained on given sets, judged on a split, class by class.

Shapes: n images, c channels, H height, W width, K classes.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from datm.baselines import TrainingSet
from datm.data import DataSet, Split
from datm.evaluation.train import Protocol, train_networks
from datm.matching import Student, student_loss
from datm.networks import Network, Predictor
from datm.runtime.device import Runtime


@dataclass(frozen=True)
class Judged:
    """Accuracy of one network, a fraction: over all images, and of each class's own.

    A class without images has None.
    """

    accuracy: float
    per_class: list[float | None]

    @property
    def mean_of_classes(self) -> float:
        """The accuracy if every class that is there had as many images."""
        return statistics.fmean(share for share in self.per_class if share is not None)


class Judge:
    """A split in the training space, to judge by."""

    def __init__(self, data: DataSet, split: Split) -> None:
        self.images = data.transform(split.images)
        self.labels = split.labels
        self.balanced = split.balanced
        self.counts = torch.bincount(split.labels, minlength=len(data.classes))

    def __len__(self) -> int:
        return len(self.labels)

    def __call__(self, scores: Tensor) -> Judged:
        """What class scores [n, K] of the images are worth."""
        hits = scores.argmax(1) == self.labels
        right = torch.bincount(self.labels[hits], minlength=len(self.counts))
        pairs = zip(right.tolist(), self.counts.tolist(), strict=True)
        per_class = [hit / count if count else None for hit, count in pairs]
        return Judged(float(hits.double().mean()), per_class)


class Trainer:
    """One network with its compiled functions, and the splits to judge it on."""

    def __init__(self, network: Network, data: DataSet, runtime: Runtime) -> None:
        self.network = network
        self.at_once = runtime.side_by_side
        self.student = Student(student_loss(network), runtime.compile)
        self.predictor = Predictor(network, runtime.compile)
        self.test = Judge(data, data.test)
        self.validation = Judge(data, data.validation)
        self.validates_by_class = data.validates_by_class

    def judged(
        self,
        trained_on: Sequence[TrainingSet],
        judge: Judge,
        protocol: Protocol,
        seeds: Sequence[int],
    ) -> list[Judged]:
        """Accuracies on a split of a network for each training set and seed."""
        # A distilled set is on the CPU, wherever the data are.
        device = judge.images.device
        sets = [(images.to(device), logits.to(device)) for images, logits in trained_on]
        trained = train_networks(self.network, self.student, sets, protocol, seeds)
        return [
            judge(self.predictor.scores(params, judge.images, reference=images))
            for params, (images, _) in zip(trained, sets, strict=True)
        ]
