"""A network as a function of one flat parameter vector, and the layout of that vector.

Shapes: P parameters, B images, c channels, H height, W width, K classes,
F features.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

Statistics = list[tuple[Tensor, Tensor]]
"""Per batch-normalised layer: mean and variance of its input, broadcastable to [B, width, h, w]."""


@dataclass(frozen=True)
class Layout:
    """Names and shapes of the parameters, in the order in which they stand in the flat vector.

    `classifier`: how many entries at the vector's end are the weight and bias of the linear layer
    that makes the class scores; 0 where no such layer stands last.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    classifier: int = 0

    @property
    def sizes(self) -> list[int]:
        """Entries of each parameter. (Not cached: the compiler cannot trace a cached property.)"""
        return [math.prod(shape) for shape in self.shapes]

    @property
    def total(self) -> int:
        """P, the number of parameters."""
        return sum(self.sizes)

    def unflatten(self, flat: Tensor) -> list[Tensor]:
        """The parameters as views of `flat` [P]. One split, so that its derivative is one cat."""
        parts = torch.split(flat, self.sizes)
        return [part.view(shape) for part, shape in zip(parts, self.shapes, strict=True)]

    def head(self, entries: Tensor) -> tuple[Tensor, Tensor | None]:
        """Weight and bias, if any, of the last linear layer from its `classifier` entries."""
        if len(self.shapes[-1]) > 1:
            return entries.view(self.shapes[-1]), None
        weight, bias = torch.split(entries, self.sizes[-2:])
        return weight.view(self.shapes[-2]), bias

    def named(self, flat: Tensor) -> dict[str, Tensor]:
        """Parameters by name, as views of `flat` [P]."""
        return dict(zip(self.names, self.unflatten(flat), strict=True))


class Network(Protocol):
    """What teaching, matching and evaluation need of a network."""

    @property
    def spec(self) -> str:
        """The text that makes this network again (see `make_network`)."""

    @property
    def layout(self) -> Layout: ...

    def initial(self, generator: torch.Generator) -> Tensor:
        """A freshly initialised parameter vector [P], float32, on the CPU."""

    def __call__(
        self, params: Tensor, images: Tensor, statistics: Statistics | None = None
    ) -> Tensor:
        """Class scores [B, K] of `images` [B, c, H, W].

        Without `statistics` batch normalisation uses this batch's own; with them, those.
        """

    def features(self, params: Tensor, images: Tensor) -> Tensor:
        """What the last linear layer is given, [B, F]; batch statistics as without `statistics`.

        Raises InputError where no linear layer stands last (`layout.classifier` is 0).
        """

    def statistics(self, params: Tensor, images: Tensor) -> Statistics:
        """Statistics of every batch-normalised layer over `images`; empty for other norms."""

    def derivative(
        self, params: Tensor, images: Tensor, direction: Tensor
    ) -> tuple[Tensor, Tensor]:
        """(scores [B, K], their derivative [B, K] as `params` move along `direction` [P])."""
