"""What the student makes of real images, as the outer loss.

The way to a teacher's weights is a stand-in for what a distilled set is for: a student that does
well on real data. The adjoint recursion begins with the gradient of any loss of the student, so
that one can be asked for as well (Wang et al. 2018, Dataset Distillation, eq. 3).

Shapes: P parameters, R real images, c channels, H height, W width, K classes, G students side by
side.
"""

import math
from dataclasses import dataclass

from torch import Tensor

from datm.matching.student import Student


@dataclass(frozen=True)
class DataLoss:
    """Cross-entropy on real images / log K: 1 for a student that guesses.

    images [R, c, H, W], logits [R, K]: real images with hard labels, or [G, R, ...].
    """

    student: Student
    images: Tensor
    logits: Tensor

    def __call__(self, student: Tensor) -> Tensor:
        """The loss of one student [P], differentiable by the student."""
        return self.student(student, self.images, self.logits) / self._chance

    def gradient(self, student: Tensor) -> tuple[Tensor, Tensor]:
        """The loss of a student [P] (or [G, P]: G losses), and its gradient by the student."""
        slope, loss = self.student.gradient(student, self.images, self.logits)
        return loss / self._chance, slope / self._chance

    def ends(self, places: list[Tensor]) -> list[int]:
        """The last of the student's places counts, for each student side by side."""
        return [len(places) - 1] * places[0].shape[:-1].numel()

    @property
    def _chance(self) -> float:
        return math.log(self.logits.shape[-1])
