"""The data sets of the papers' tables, each with its network, and what work on them costs.

Letters: K classes, S synthetic images, B batch, N inner steps, P parameters, D blocks.
"""

from dataclasses import dataclass

from datm.data import DataConfig
from datm.recipes.published import IN, published
from datm.recipes.recipe import Entry, Recipe

WIDTH = 128
MATCHED, TRAINED = 11, 3
"""Forward passes that an inner step of a matching gradient and a step of training cost."""


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A data set as the papers use it, with ConvNet-D."""

    name: str
    """begins the names of its recipes"""
    title: str
    data: DataConfig
    depth: int
    """D: 3 for 32x32, 4 for 64x64, 5 for 112x112 and 128x128"""
    side: int
    channels: int = 3
    classes: int
    images: int
    """training images, all classes together, before any are held out"""
    per_class: str
    """how many of them a class has, in words"""

    @property
    def network(self) -> str:
        return f"convnet-{self.depth}"

    @property
    def forward_gflop(self) -> float:
        """One image through the convolutions: two operations per weight and position."""
        inputs = [self.channels] + [WIDTH] * (self.depth - 1)
        places = (self.side >> block for block in range(self.depth))
        return sum(2 * 9 * c * WIDTH * n * n for c, n in zip(inputs, places, strict=True)) / 1e9

    @property
    def parameters(self) -> int:
        """P: convolutions and norms with biases, then the linear layer."""
        inputs = [self.channels] + [WIDTH] * (self.depth - 1)
        left = self.side >> self.depth
        return sum((9 * c + 3) * WIDTH for c in inputs) + (WIDTH * left * left + 1) * self.classes

    def summary(self, ipc: int) -> str:
        plural = "" if ipc == 1 else "s"
        return f"{self.title}, {ipc} image{plural} per class of {self.per_class}"

    def entry(
        self,
        made: Recipe,
        method: str,
        *,
        source: str,
        settings: str,
        published_in: str = "",
        differs: str = "",
        always_differs: str = "",
    ) -> Entry:
        """What is known of a recipe on this data set, with the published accuracy of `method`."""
        ipc = made.distill.ipc
        return Entry(
            recipe=made,
            summary=self.summary(ipc),
            source=source,
            settings=settings,
            published=published(method, self.name, ipc),
            published_in=published_in or IN[method],
            differs=differs,
            always_differs=always_differs,
            cost=self.cost(made),
        )

    def cost(self, recipe: Recipe) -> str:
        """Arithmetic and disk of teaching and of one iteration, in words."""
        teach, distill = recipe.teach, recipe.distill
        gradients = 2 if teach.optimiser == "ftd" else 1
        images = self.images * (1 - recipe.data.validation) * teach.epochs * teach.teachers
        teaching = gradients * TRAINED * self.forward_gflop * images
        disk = teach.teachers * (teach.epochs + 1) * self.parameters * 4
        batch = min(distill.match.batch, self.classes * distill.formed)
        iteration = MATCHED * self.forward_gflop * distill.match.inner_steps * batch
        return (
            f"{teaching / 1e6:.3g} PFLOP and {disk / 1e9:.1f} GB of teachers (one set serves every"
            f" number of images per class); {distill.iterations} iterations of"
            f" {iteration / 1e3:.3g} TFLOP"
        )


CIFAR10 = Benchmark(
    name="cifar10",
    title="CIFAR-10",
    data=DataConfig(source="cifar10", transform="zca"),
    depth=3,
    side=32,
    classes=10,
    images=50_000,
    per_class="5,000",
)
CIFAR100 = Benchmark(
    name="cifar100",
    title="CIFAR-100",
    data=DataConfig(source="cifar100", transform="zca"),
    depth=3,
    side=32,
    classes=100,
    images=50_000,
    per_class="500",
)
TINY = Benchmark(
    name="tiny",
    title="Tiny ImageNet",
    data=DataConfig(source="tiny-imagenet-200", transform="zca"),
    depth=4,
    side=64,
    classes=200,
    images=100_000,
    per_class="500",
)

CELLS = {CIFAR10: (1, 10, 50, 500, 1000), CIFAR100: (1, 10, 50, 100), TINY: (1, 10, 50)}
"""The columns of DATM's Table 1: data sets and images per class."""
