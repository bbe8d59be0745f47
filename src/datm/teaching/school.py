"""What all teachers of a folder share, and the loop that trains them.

The loop is one for all variants: which images an epoch takes, how a gradient is made of a step's
batches and which direction is taken are functions that a `Course` brings.

Letters: P parameters, B batch, K classes, n images, G teachers side by side, m steps of a block.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from datm.augment import augmented, draw_augmentation
from datm.batches import training_blocks
from datm.data import DataSet
from datm.errors import InputError
from datm.matching import Student, student_loss
from datm.matching.objective import hard_logits
from datm.networks import Network, Predictor
from datm.runtime.device import Runtime
from datm.runtime.seeds import generator
from datm.teaching.balanced import balanced_stream, decoupled
from datm.teaching.config import TeachConfig
from datm.teaching.curriculum import Lesson, Lessons, shuffled
from datm.teaching.optimisers import Direction, Gradient, sgd


@dataclass(frozen=True)
class Course:
    """What is taught: for how many epochs, on which images, by which rule.

    balanced: the last linear layer learns from balanced batches. who: what messages call a learner.
    """

    epochs: int
    lessons: Lessons
    direction: Direction = sgd
    balanced: bool = False
    who: str = "teacher"

    @property
    def is_plain(self) -> bool:
        """Whether a step is one gradient on one batch, so that many are done at once."""
        return self.direction is sgd and not self.balanced


@dataclass(frozen=True)
class Learner:
    """A network to be trained: its number and the seed that all its draws come from."""

    number: int
    seed: int


class School:
    """Data in the training space on the device, compiled functions, the loop."""

    def __init__(
        self, data: DataSet, network: Network, config: TeachConfig, runtime: Runtime
    ) -> None:
        self.device = runtime.torch_device()
        self.network = network
        self.config = config
        self.labels = data.train.labels.cpu()
        data = data.to(self.device)
        self.images = data.transform(data.train.images)
        self.logits = hard_logits(data.train.labels, len(data.classes))
        self.held_out = {
            name: (data.transform(split.images), split.labels)
            for name, split in (("validation", data.validation), ("test", data.test))
        }
        self.student = Student(student_loss(network), runtime.compile)
        self.predictor = Predictor(network, runtime.compile)

    def shuffled(self) -> Lessons:
        """Every training image in every epoch."""
        return shuffled(len(self.images), self.config.batch)

    def initial(self, learner: Learner) -> Tensor:
        """A learner's first parameters [P]."""
        start = self.network.initial(generator(learner.seed, "initial"))
        return start.to(self.device)

    def epochs(
        self, params: Tensor, first: int, learners: Sequence[Learner], course: Course
    ) -> Iterator[tuple[int, Tensor, list[float]]]:
        """Train on from `params` [G, P] after epoch `first`, each learner from its own seed.

        Yields (epoch, parameters [G, P], mean losses). Raises InputError where one diverges.
        """
        for epoch in range(first + 1, course.epochs + 1):
            lesson = course.lessons(epoch)
            if course.is_plain:
                params, total = self._in_blocks(params, lesson, learners)
            else:
                params, total = self._step_by_step(params, lesson, learners, course)
            losses = (total / len(lesson.steps)).tolist()
            for learner, own, mean in zip(learners, params, losses, strict=True):
                if not (mean < float("inf") and bool(own.isfinite().all())):
                    raise InputError(
                        f"teach.learning_rate: {course.who} {learner.number} diverged in epoch"
                        f" {epoch} (loss {mean}); {self.config.learning_rate} is too large, give a"
                        " smaller one."
                    )
            yield epoch, params, losses

    def _in_blocks(
        self, params: Tensor, lesson: Lesson, learners: Sequence[Learner]
    ) -> tuple[Tensor, Tensor]:
        """(parameters [G, P], the sum of losses [G]) after a lesson of plain steps."""
        streams = [lesson.stream(learner.seed) for learner in learners]
        still, total = torch.zeros_like(params), params.new_zeros(len(learners))
        numbers = len(learners) * lesson.batch * self.images[0].numel()
        for block in training_blocks(lesson.steps, numbers, params.is_cuda):
            rows = torch.stack([torch.stack([own(step) for step in block]) for own in streams])
            rows = rows.to(self.device, non_blocking=True)
            seeds = [learner.seed for learner in learners]
            images = augmented(self.config.augmentation, seeds, block, self.images[rows])
            rates = [self.config.learning_rate] * len(block)
            params, _, losses = self.student.descend(
                params, still, images, self.logits[rows], rates
            )
            total = total + losses
        return params, total

    def _step_by_step(
        self, params: Tensor, lesson: Lesson, learners: Sequence[Learner], course: Course
    ) -> tuple[Tensor, Tensor]:
        """The same of steps of any kind."""
        total = params.new_zeros(len(learners))
        for gradient in self._gradients(lesson, learners, course.balanced):
            direction, loss = course.direction(gradient, params)
            params = params - self.config.learning_rate * direction
            total = total + loss
        return params, total

    def _gradients(
        self, lesson: Lesson, learners: Sequence[Learner], balanced: bool
    ) -> Iterator[Gradient]:
        """For each step of the lesson the gradient, as a function of parameters [G, P]."""
        streams = [lesson.stream(learner.seed) for learner in learners]
        turns = [
            balanced_stream(lesson.rows, self.labels[lesson.rows], lesson.batch, learner.seed)
            for learner in learners
            if balanced
        ]
        for step in lesson.steps:
            gradient = self._gradient([stream(step) for stream in streams], learners, step)
            if balanced:
                rows = [turn(step) for turn in turns]
                other = self._gradient(rows, learners, step, "balanced")
                gradient = decoupled(gradient, other, self.network.layout.classifier)
            yield gradient

    def _gradient(
        self, rows: Sequence[Tensor], learners: Sequence[Learner], step: int, *path: str
    ) -> Gradient:
        """The loss's gradient on each learner's augmented rows [B], at parameters [G, P]."""
        parts = [
            self._batch(own, generator(learner.seed, *path, "augment", step))
            for own, learner in zip(rows, learners, strict=True)
        ]
        images, logits = (torch.stack(part) for part in zip(*parts, strict=True))

        def gradient(params: Tensor) -> tuple[Tensor, Tensor]:
            return self.student.gradient(params, images, logits)

        return gradient

    def _batch(self, rows: Tensor, draw: torch.Generator) -> tuple[Tensor, Tensor]:
        """Augmented images [B, c, H, W] and label logits [B, K] of the training rows [B]."""
        rows = rows.to(self.device, non_blocking=True)
        augment = draw_augmentation(self.config.augmentation, len(rows), draw)
        return augment(self.images[rows]), self.logits[rows]

    def report(self, params: Tensor) -> dict[str, float | None]:
        """Accuracy on the splits that teachers never see (None for an empty split)."""
        return {
            f"{name}_accuracy": self.predictor.accuracy(params, images, labels, self.images)
            if len(labels)
            else None
            for name, (images, labels) in self.held_out.items()
        }
