"""What every iteration of a distillation needs and none changes: data, teachers, functions.

Letters: S synthetic images to train on.
"""

import dataclasses
from typing import Any

import torch
from torch import Tensor

from datm.augment import SideBySide
from datm.data import DataSet
from datm.distillation.config import DistillConfig
from datm.distillation.distilled_set import DistilledSet
from datm.distillation.initial import ask_teachers, choose_initial, earlier_set
from datm.distillation.segments import Draw, Segments
from datm.distillation.state import State
from datm.evaluation.train import Protocol, train_network
from datm.formation import by_stored, form, store
from datm.matching import (
    Augment,
    DataLoss,
    MatchGradient,
    Segment,
    Student,
    make_distance,
    match_gradient,
    student_loss,
)
from datm.matching.objective import hard_logits
from datm.networks import Predictor, make_network
from datm.runtime.device import Runtime
from datm.runtime.logs import Console
from datm.runtime.seeds import derived_seed
from datm.teaching import Trajectories


class Job:
    """One distillation: a function of its inputs, so that every iteration can be had again."""

    def __init__(
        self,
        data: DataSet,
        trajectories: Trajectories,
        config: DistillConfig,
        runtime: Runtime,
        seed: int,
    ) -> None:
        self.device = runtime.torch_device()
        self.data = data.to(self.device)
        self.trajectories = trajectories
        self.config = config
        self.runtime = runtime
        self.seed = seed
        shape, classes = data.shape, len(data.classes)
        self.network = make_network(trajectories.network, shape, classes, runtime.arithmetic)
        prior = data.class_prior.log().to(self.device) if config.match.prior_correction else None
        # A classifier that saw balanced batches has no prior in its scores.
        decoupled = trajectories.classifier == "balanced"
        self.labels_prior = None if decoupled else prior
        loss = student_loss(self.network, prior, decoupled and prior is not None)
        self.student = Student(loss, runtime.compile)
        # Validation trains on the distilled set as its readers will: nothing is taken off there.
        self.reader = self.student
        if prior is not None:
            self.reader = Student(student_loss(self.network), runtime.compile)
        self.distance = make_distance(config.match, self.network.layout)
        self.predictor = Predictor(self.network, runtime.compile)
        self.augmentation = trajectories.augmentation
        self._segments: Segments | None = None
        self.earlier = earlier_set(data, config)
        validation = self.data.validation
        self.held_out = self.data.transform(validation.images), validation.labels

    @property
    def identity(self) -> dict[str, Any]:
        """All that decides the iterates: what a checkpoint must share to be continued."""
        plain = dataclasses.asdict(self.config)
        # How long and how often changes no iterate, only which of them are seen.
        for name in ("iterations", "checkpoint_every", "log_every"):
            if name != "iterations" or self.config.extends:
                del plain[name]
        # Checkpoints that are older than this field are those of images as they are.
        if self.config.formation == 1:
            del plain["formation"]
        if self.earlier:
            plain["begin_with"] = self.earlier.fingerprint()
        manifest = self.trajectories.manifest
        teachers = {**manifest["settings"], "precision": manifest.get("precision")}
        teachers["teachers"] = [teacher["seed"] for teacher in self.trajectories.finished]
        return {
            "distill": plain,
            "data": self.data.describe(),
            "network": self.network.spec,
            "teach": teachers,
            "seed": self.seed,
            "precision": self.runtime.arithmetic,
        }

    def begin(self, console: Console) -> State:
        """Real images with the teachers' soft labels or with hard ones; or the earlier set."""
        if self.earlier:
            images, logits = self.earlier.stored, self.earlier.logits
            if self.config.labels == "hard":
                classes = torch.arange(len(self.data.classes))
                logits = hard_logits(classes.repeat_interleave(self.config.formed), len(classes))
            return State.begin(images.to(self.device), logits.to(self.device), self.config)
        opinion = ask_teachers(self.data, self.trajectories, self.network, self.runtime.compile)
        rows = choose_initial(self.data, opinion, self.config, self.seed, console).to(self.device)
        images = store(self.data.transform(self.data.train.images[rows]), self.config.formation)
        if self.config.labels == "hard":
            logits = hard_logits(self.data.train.labels[rows], len(self.data.classes))
        elif self.labels_prior is not None:
            # The teachers' scores contain the prior; the balanced set's labels must not.
            logits = opinion.logits[rows] - self.labels_prior
        else:
            logits = opinion.logits[rows]
        return State.begin(images, logits, self.config)

    def match(self, state: State) -> list[tuple[Segment | None, MatchGradient]]:
        """The gradients of the iteration that follows `state`, with the segments they follow."""
        if self._segments is None:
            self._segments = Segments(
                self.trajectories,
                self.network.initial,
                self.config.match,
                len(state.logits),
                len(self.data.train),
                self.seed,
                self.device,
            )
        draws = self._segments(state.iteration)
        at_once = 1 if self.config.match.gradient == "unrolled" else self.runtime.side_by_side
        found: list[tuple[Segment | None, MatchGradient]] = []
        for first in range(0, len(draws), at_once):
            some = draws[first : first + at_once]
            if len(some) == 1:
                gradients = [self._gradient(state, some[0], some[0].augment)]
            else:
                gradients = self._side_by_side(state, some)
            found += zip(
                (draw.segment for draw in some), map(self._by_stored, gradients), strict=True
            )
        return found

    def _by_stored(self, gradient: MatchGradient) -> MatchGradient:
        """By the images as the state holds them, from that by those that students train on."""
        images_grad = by_stored(gradient.images_grad, self.config.formation)
        return dataclasses.replace(gradient, images_grad=images_grad)

    def _side_by_side(self, state: State, draws: list[Draw]) -> list[MatchGradient]:
        """Several students in one sweep, side by side."""

        def stacked(name: str) -> Tensor:
            return torch.stack([getattr(draw, name) for draw in draws])

        together = dataclasses.replace(
            draws[0],
            start=stacked("start"),
            target=stacked("target"),
            batches=stacked("batches"),
            real=stacked("real"),
        )
        augment = SideBySide(tuple(draw.augment for draw in draws))
        whole = self._gradient(state, together, augment)
        values = [getattr(whole, field.name) for field in dataclasses.fields(whole)]
        return [MatchGradient(*own) for own in zip(*values, strict=True)]

    def _gradient(self, state: State, draw: Draw, augment: Augment) -> MatchGradient:
        return match_gradient(
            self.student,
            draw.start,
            draw.target if draw.segment else self._data_loss(draw.real),
            form(state.images, self.config.formation),
            state.logits,
            state.step_size,
            draw.batches,
            self.config.match.gradient,
            augment,
            self.distance,
            draw.first,
        )

    def _data_loss(self, rows: Tensor) -> DataLoss:
        """The loss on the real images in the rows [..., R]."""
        train = self.data.train
        images = self.data.transform(train.images[rows.flatten()])
        logits = hard_logits(train.labels[rows], len(self.data.classes))
        # As readers of the set judge their networks: nothing is taken off the scores.
        return DataLoss(self.reader, images.view(*rows.shape, *images.shape[1:]), logits)

    def validate(self, state: State) -> float:
        """Mean validation accuracy of fresh networks trained on the present iterate.

        Of a long tail that is judged on balanced test images: the mean over the classes.
        """
        protocol = Protocol(
            learning_rate=self.config.reader_lr or float(state.step_size),
            epochs=self.config.validate_epochs,
            augmentation=self.augmentation,
        )
        total = 0.0
        for number in range(self.config.validate_networks):
            seed = derived_seed(self.seed, "validate", number)
            images = form(state.average_images, self.config.formation)
            logits = state.average_logits
            params = train_network(self.network, self.reader, images, logits, protocol, seed)
            total += self.predictor.accuracy(
                params, *self.held_out, reference=images, by_class=self.data.validates_by_class
            )
        return total / self.config.validate_networks

    def result(self, state: State) -> DistilledSet:
        """The best iterate as a distilled set."""
        meta = {
            "data": self.data.describe(),
            "network": self.network.spec,
            "augmentation": self.augmentation,
            "iteration": state.best_iteration,
            "iterations": state.iteration,
            "validation_accuracy": state.best_accuracy if len(self.data.validation) else None,
            "recipe": {"distill": dataclasses.asdict(self.config), "seed": self.seed},
            "teachers": {
                "count": len(self.trajectories),
                "settings": self.trajectories.manifest["settings"],
            },
            "precision": self.runtime.arithmetic,
            "seconds": state.seconds,
        }
        if self.earlier:
            made = ("iterations", "seconds", "recipe", "teachers", "precision", "begun_with")
            known = {name: self.earlier.meta[name] for name in made if name in self.earlier.meta}
            meta["begun_with"] = {"fingerprint": self.earlier.fingerprint(), **known}
        return DistilledSet.formed(
            stored=state.best_images.cpu(),
            formation=self.config.formation,
            logits=state.best_logits.cpu(),
            step_size=self.config.reader_lr or float(state.best_step_size),
            classes=self.data.classes,
            transform=self.data.transform.to("cpu"),
            meta=meta,
        )
