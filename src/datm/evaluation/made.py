"""Training sets that take work before a network can be trained on them: each is made once.

herding, k-center: real images chosen by the features of a network of the evaluated kind that was
trained on all of data.train. dm, dsa: images that other methods synthesise with the network that
made the distilled set; like that set, one serves all the networks. Nothing here sees a test or
validation image. Where an evaluation is continued, a set that is still needed is made again.

Shapes: n images, F features, K classes.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Literal

from torch import Tensor

from datm.baselines import (
    Task,
    TrainingSet,
    features_of,
    herding,
    k_center,
    match_distributions,
    match_gradients,
    random_real,
)
from datm.data import DataSet
from datm.evaluation.config import EvaluateConfig
from datm.evaluation.train import Protocol, train_network
from datm.evaluation.trainer import Trainer
from datm.matching import Student, student_loss
from datm.matching.objective import hard_logits
from datm.networks import make_network
from datm.runtime.device import Runtime
from datm.runtime.logs import Console
from datm.runtime.seeds import derived_seed

if TYPE_CHECKING:
    from datm.distillation import DistilledSet

Chosen = Literal["herding", "k-center"]
Synthetic = Literal["dm", "dsa"]
CHOOSE = {"herding": herding, "k-center": k_center}
CHOSEN: tuple[Chosen, ...] = ("herding", "k-center")
SYNTHETIC: tuple[Synthetic, ...] = ("dm", "dsa")


class Made:
    """A training set that is made when it is first needed. `facts` say how; `seconds`, how long."""

    def __init__(
        self, facts: dict[str, Any], work: Callable[[Console], tuple[TrainingSet, float]]
    ) -> None:
        self.facts = facts
        self.seconds = 0.0
        self._work = work
        self._set: TrainingSet | None = None

    def make(self, console: Console) -> None:
        """Make the set, unless it is there."""
        if self._set is None:
            self._set, self.seconds = self._work(console)

    def __call__(self, _: int = 0) -> TrainingSet:
        assert self._set is not None, "not made yet"
        return self._set


class Maker:
    """Makes the sets of one evaluation. `protocol` is that of its networks."""

    def __init__(
        self,
        data: DataSet,
        distilled: "DistilledSet",
        config: EvaluateConfig,
        protocol: Protocol,
        runtime: Runtime,
        seed: int,
    ) -> None:
        self.data, self.config, self.protocol = data, config, protocol
        self.network, self.ipc = distilled.network, distilled.ipc
        self.runtime, self.seed = runtime, seed
        self._made: dict[str, Made] = {}
        self._choices: dict[str, dict[str, tuple[Tensor, float]]] = {}

    def chosen(self, what: Chosen, trainer: Trainer) -> Made:
        """As many real images as the distilled set has, by the features of a trained network."""
        data = self.data

        def work(console: Console) -> tuple[TrainingSet, float]:
            rows, seconds = self._choose(trainer, console)[what]
            split = data.train.select(rows.to(data.train.labels.device))
            logits = hard_logits(split.labels, len(data.classes))
            return (data.transform(split.images), logits), seconds

        return Made({"features": trainer.network.spec, **asdict(self.config.coresets)}, work)

    def synthetic(self, what: Synthetic) -> Made:
        """As many images as the distilled set has, made by another method."""
        if what in self._made:
            return self._made[what]
        settings = asdict(self.config.dm if what == "dm" else self.config.dsa)
        if what == "dsa":
            settings["outer"], settings["inner"] = self.config.dsa.loops(self.ipc)

        def work(console: Console) -> tuple[TrainingSet, float]:
            began = time.monotonic()
            found = self._by_dm(console) if what == "dm" else self._by_dsa(console)
            return found, time.monotonic() - began

        self._made[what] = Made({"network": self.network, **settings}, work)
        return self._made[what]

    def _choose(self, trainer: Trainer, console: Console) -> dict[str, tuple[Tensor, float]]:
        """For herding and k-center: the rows chosen, and the seconds from the features on.

        Their network is trained once; its features are many and not kept.
        """
        spec = trainer.network.spec
        if spec not in self._choices:
            began = time.monotonic()
            console.say(f"evaluate: training {spec} for the features that coresets go by")
            labels, classes = self.data.train.labels, len(self.data.classes)
            images = self.data.transform(self.data.train.images)
            params = train_network(
                trainer.network,
                trainer.student,
                images,
                hard_logits(labels, classes),
                replace(self.protocol, **asdict(self.config.coresets)),
                derived_seed(self.seed, "features"),
            )
            features = features_of(trainer.network, params, images)
            shared = time.monotonic() - began
            self._choices[spec] = {}
            for what in (what for what in CHOSEN if what in self.config.baselines):
                began = time.monotonic()
                rows = CHOOSE[what](features, labels, classes, self.ipc)
                self._choices[spec][what] = rows, shared + time.monotonic() - began
        return self._choices[spec]

    def _by_dm(self, console: Console) -> TrainingSet:
        return match_distributions(self._task("dm"), self.config.dm, console)

    def _by_dsa(self, console: Console) -> TrainingSet:
        task = self._task("dsa")
        student = Student(student_loss(task.network), self.runtime.compile)
        return match_gradients(task, self.config.dsa, self.ipc, student, console)

    def _task(self, what: Synthetic) -> Task:
        data, classes = self.data, len(self.data.classes)
        seed = derived_seed(self.seed, what)
        labels = data.train.labels
        return Task(
            network=make_network(self.network, data.shape, classes, self.runtime.arithmetic),
            images=data.transform(data.train.images),
            labels=labels,
            classes=classes,
            start=random_real(labels, classes, self.ipc, seed).to(labels.device),
            augmentation=self.protocol.augmentation,
            seed=seed,
        )
