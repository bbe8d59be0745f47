"""What the student makes of real images, as a part of the outer loss.

The way to the teacher's weights is a stand-in for what a distilled set is for: a student that does
well on real data. The adjoint recursion begins with the gradient of any loss of the student, so
that one can be asked for as well (Wang et al. 2018, Dataset Distillation, eq. 3), or alone.

Shapes: P parameters, R real images, c channels, H height, W width, K classes, G students side by
side.
"""

import math
from dataclasses import dataclass

from torch import Tensor

from datm.matching.distance import Distance
from datm.matching.student import Student


@dataclass(frozen=True)
class DataLoss:
    """(1 - share) matching loss + share cross-entropy on real images / log K.

    Both are 1 where nothing was learned: a student that has not moved, and one that guesses.

    images [R, c, H, W], logits [R, K]: real images with hard labels, or [G, R, ...].
    """

    distance: Distance
    share: float
    student: Student
    images: Tensor
    logits: Tensor

    def __call__(self, student: Tensor, start: Tensor, target: Tensor) -> Tensor:
        """The loss of one student [P], differentiable by the student."""
        own = self.student(student, self.images, self.logits) * self._weight
        return (1 - self.share) * self.distance(student, start, target) + own

    def gradient(self, student: Tensor, start: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """The loss of a student [P] (or [G, P]: G losses), and its gradient by the student."""
        loss, outer = self.distance.gradient(student, start, target)
        slope, own = self.student.gradient(student, self.images, self.logits)
        rest = 1 - self.share
        return rest * loss + self._weight * own, rest * outer + self._weight * slope

    def ends(self, places: list[Tensor], target: Tensor) -> list[int]:
        """Which of the student's places counts: see `Distance`."""
        return self.distance.ends(places, target)

    @property
    def _weight(self) -> float:
        return self.share / math.log(self.logits.shape[-1])
