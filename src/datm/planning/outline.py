"""What a run's cost depends on: its steps, the sizes of its data, its settings.

Letters: K classes, S synthetic images, R as they are stored, B batch, G side by side.
"""

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch

from datm.data import DataSet

if TYPE_CHECKING:
    from datm.recipes import Recipe

Kind = Literal["gradient", "match", "scores", "statistics", "dm", "dsa"]


@dataclass(frozen=True)
class Step:
    """One kind of step: what is measured once and multiplied.

    gradient: a step of training on `batch` images; match: an inner step of a matching gradient,
    both sweeps; scores: class scores of one chunk of images; statistics: those of batch
    normalisation over `batch` images (nothing for other norms); dm, dsa: the gradient of one
    class's `synthetic` images against `batch` real ones, by these methods. side: G, the networks or
    segments that take the step at once, each on its own `batch` images.
    """

    kind: Kind
    network: str
    batch: int
    augmentation: str = "none"
    side: int = 1
    synthetic: int = 0

    @property
    def images(self) -> int:
        """All images of the step."""
        return self.batch * self.side


Work = Counter[Step]
"""How often each step is taken."""


@dataclass(frozen=True)
class Sizes:
    """What a plan needs to know of the data: images of each split, and of each class to train on.

    shape: (c, H, W) of an image.
    """

    shape: tuple[int, int, int]
    per_class: tuple[int, ...]
    validation: int
    test: int
    zca: bool = False

    @classmethod
    def of(cls, data: DataSet) -> "Sizes":
        counts = torch.bincount(data.train.labels, minlength=len(data.classes)).tolist()
        zca = data.transform.kind == "zca"
        return cls(data.shape, tuple(counts), len(data.validation), len(data.test), zca)

    @property
    def train(self) -> int:
        return sum(self.per_class)

    @property
    def classes(self) -> int:
        """K."""
        return len(self.per_class)

    @property
    def pixels(self) -> int:
        """D, the numbers in one image."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Outline:
    """A run as far as its cost depends on it.

    network: the teachers' spec; models: specs of those evaluated; made: whether the teachers are
    trained by this run; teachers, augmentation: of those that are there in the end.
    """

    recipe: "Recipe"
    sizes: Sizes
    network: str
    models: tuple[str, ...]
    teachers: int
    augmentation: str
    made: bool = True

    @property
    def synthetic(self) -> int:
        """S."""
        return self.recipe.distill.formed * self.sizes.classes

    @property
    def stored(self) -> int:
        """R."""
        return self.recipe.distill.ipc * self.sizes.classes

    @property
    def real(self) -> int:
        """As many real images as are stored of synthetic ones, or all of a smaller class."""
        ipc = self.recipe.distill.ipc
        return sum(min(ipc, images) for images in self.sizes.per_class)

    @property
    def at_once(self) -> int:
        """G, at most."""
        return self.recipe.runtime.side_by_side

    @property
    def validations(self) -> int:
        """How often the distilled set is judged on the validation images."""
        config = self.recipe.distill
        if not self.sizes.validation:
            return 0
        last = config.iterations % config.validate_every > 0
        return 1 + config.iterations // config.validate_every + last

    @property
    def match_batch(self) -> int:
        """B, as large as there are images for."""
        return min(self.recipe.distill.match.batch, self.synthetic)
