"""The outer loss: how far the student's training ended from the teacher's, and what counts of it.

Shapes: P parameters, N inner steps, G students side by side.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from datm.errors import InputError
from datm.matching.config import MatchConfig
from datm.networks.functional import Layout


def matching_loss(student: Tensor, start: Tensor, target: Tensor) -> Tensor:
    """||student - target||^2 / ||start - target||^2, 1 if unmoved (Cazenavette 2022, eq. 2).

    All [P], or all [G, P]: then G losses.
    """
    return (student - target).square().sum(-1) / (start - target).square().sum(-1)


@dataclass(frozen=True)
class Span:
    """The parameters from `first` up to `end`, and what their distance counts."""

    first: int
    end: int
    weight: float = 1.0

    def __len__(self) -> int:
        return self.end - self.first


@dataclass(frozen=True)
class Distance:
    """The matching loss with less than every parameter in it; without arguments the plain one.

    spans: each is a matching loss of its own, relative to the teacher's way in it; the weighted sum
        counts, and nothing outside them. None: all parameters together.
    lowest: so many parameters, those whose share of the loss is least, are left out of it but not
        of the teacher's way (EDF, Wang 2025: they are easy already).
    nearest: of the student's N places the one nearest to the target in L1 counts, not the last;
        steps after it have no effect (ATT).
    """

    spans: tuple[Span, ...] | None = None
    lowest: int = 0
    nearest: bool = False

    def __call__(self, student: Tensor, start: Tensor, target: Tensor) -> Tensor:
        """The loss of a student [P] (or [G, P]: G losses), differentiable by the student."""
        apart, whole = (student - target).square(), (start - target).square()
        spans = (Span(0, student.shape[-1]),) if self.spans is None else self.spans
        losses = [
            apart[..., span.first : span.end]
            * (span.weight / whole[..., span.first : span.end].sum(-1, keepdim=True))
            for span in spans
        ]
        if self.lowest:
            every = torch.cat(losses, -1)
            losses = [every.topk(every.shape[-1] - self.lowest, sorted=False).values]
        return torch.stack([loss.sum(-1) for loss in losses]).sum(0)

    def gradient(self, student: Tensor, start: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """The loss, and its gradient by the student."""
        with torch.enable_grad():
            student = student.detach().requires_grad_()
            loss = self(student, start, target)
            (by_student,) = torch.autograd.grad(loss.sum(), student)
        return loss.detach(), by_student

    def ends(self, places: list[Tensor], target: Tensor) -> list[int]:
        """Which of a student's places theta_0 .. theta_N counts, for each student side by side."""
        if not self.nearest:
            return [len(places) - 1] * (len(target) if target.ndim > 1 else 1)
        # Step by step: all places at once would be N x P numbers more.
        apart = [(place.detach() - target).abs().sum(-1) for place in places[1:]]
        found: list[int] = (1 + torch.stack(apart).argmin(0)).view(-1).tolist()
        return found


@dataclass(frozen=True)
class Way:
    """The outer loss of matching: the distance of a student that began at `start` [P] from `target`
    [P], or of G students side by side [G, P]."""

    distance: Distance
    start: Tensor
    target: Tensor

    def __call__(self, student: Tensor) -> Tensor:
        """The loss of the student, differentiable by it."""
        return self.distance(student, self.start, self.target)

    def gradient(self, student: Tensor) -> tuple[Tensor, Tensor]:
        """The loss, and its gradient by the student."""
        return self.distance.gradient(student, self.start, self.target)

    def ends(self, places: list[Tensor]) -> list[int]:
        """Which of the student's places counts: see `Distance`."""
        return self.distance.ends(places, self.target)


def make_distance(config: MatchConfig, layout: Layout) -> Distance:
    """The distance that `config` describes, for parameters of this layout.

    Raises InputError where the last linear layer is to count by itself but is not known, and where
    nothing is left of what is to count.
    """
    total, skipped = layout.total, round(config.skip_depth * layout.total)
    spans = [Span(skipped, total)]
    if config.backbone_weight is not None and config.classifier_weight is not None:
        if not layout.classifier:
            raise InputError(
                "match.classifier_weight: the network has no linear layer at its end to match by"
                " itself; leave it and match.backbone_weight out or give another network."
            )
        head = total - layout.classifier
        parts = (
            Span(skipped, head, config.backbone_weight),
            Span(max(skipped, head), total, config.classifier_weight),
        )
        spans = [part for part in parts if part.weight]
    lowest = round(config.skip_lowest * sum(map(len, spans)))
    if any(span.first >= span.end for span in spans) or lowest >= sum(map(len, spans)):
        raise InputError(
            f"match.skip_depth: {config.skip_depth:g} with skip_lowest {config.skip_lowest:g}"
            " leaves nothing of a part that is to be matched; lower them."
        )
    plain = spans == [Span(0, total)]
    return Distance(None if plain else tuple(spans), lowest, config.nearest)
