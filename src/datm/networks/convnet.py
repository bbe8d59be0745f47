"""ConvNet-D, the network of the dataset-distillation literature (Gidaris & Komodakis 2018).

D blocks of [3x3 convolution, normalisation, ReLU, 2x2 pooling], then one linear layer. Parameters
per block: conv.weight, conv.bias, norm.weight, norm.bias; then classifier.weight, classifier.bias.

Shapes: B images, c channels, H height, W width, K classes, P parameters.
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from datm.errors import InputError
from datm.networks.arithmetic import (
    as_gpus_convolve,
    batch_moments,
    compiled_for_gpu,
    group_moments,
    linear,
    max_pool,
    normalise,
)
from datm.networks.functional import Layout, Statistics
from datm.networks.patches import MOST_CHANNELS, convolve_patches, patches
from datm.runtime.activations import activate, activate_along, can_activate
from datm.runtime.device import Precision
from datm.runtime.first_block import begin, begin_along, can_begin

Norm = Literal["instance", "batch", "group", "layer", "none"]
Pooling = Literal["average", "max", "none"]
Parameters = list[Tensor]
"""Of the network, in the layout's order."""

EPSILON = 1e-5
GROUPS = 4
FEW_IMAGES = 256
"""So many leave a GPU idle: they and their derivatives are convolved together."""


@dataclass(frozen=True)
class ConvNet:
    """A ConvNet for images of `shape` (c, H, W) and `classes` K.

    `precision` is that of the convolutions' arithmetic: "bfloat16" rounds their inputs and weights;
    "float32" and "tf32" (a switch of the whole process) leave them in the parameters' own dtype, as
    everything else always is.
    Instance normalisation is group normalisation with one channel a group; "group" has
    four groups. Batch normalisation has no running averages: see `Network`.
    """

    shape: tuple[int, int, int]
    classes: int
    depth: int = 3
    width: int = 128
    norm: Norm = "instance"
    pooling: Pooling = "average"
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        for name, kind in (("norm", Norm), ("pooling", Pooling), ("precision", Precision)):
            if (found := getattr(self, name)) not in get_args(kind):
                raise InputError(
                    f"network: {name} {found!r} is not known; use {', '.join(get_args(kind))}."
                )
        if not 1 <= self.depth <= 6:
            raise InputError(f"network: depth {self.depth} is not in 1..6; use convnet-1 to -6.")
        if self.width < 1 or (self.norm == "group" and self.width % GROUPS):
            raise InputError(
                f"network: width {self.width} is not possible; give a positive number"
                f" (a multiple of {GROUPS} for group normalisation)."
            )
        if min(self._final_size) < 1:
            raise InputError(
                f"network: convnet-{self.depth} pools a {self.shape[1]}x{self.shape[2]} image away;"
                f" use a smaller depth or pooling=none."
            )

    @property
    def spec(self) -> str:
        return f"convnet-{self.depth},width={self.width},norm={self.norm},pooling={self.pooling}"

    @property
    def _first_padding(self) -> int:
        # Grey 28x28 images are padded so that 32x32 leaves the first convolution.
        return 3 if self.shape == (1, 28, 28) else 1

    @property
    def _final_size(self) -> tuple[int, int]:
        grown = 2 * (self._first_padding - 1)
        halvings = 0 if self.pooling == "none" else self.depth
        return (self.shape[1] + grown) >> halvings, (self.shape[2] + grown) >> halvings

    @property
    def _sizes(self) -> list[tuple[int, int]]:
        """What the convolutions make, (height, width) block by block."""
        grown = 2 * (self._first_padding - 1)
        shift = 0 if self.pooling == "none" else 1
        _, height, width = self.shape
        return [
            ((height + grown) >> shift * block, (width + grown) >> shift * block)
            for block in range(self.depth)
        ]

    @property
    def layout(self) -> Layout:
        names: list[str] = []
        shapes: list[tuple[int, ...]] = []
        channels = self.shape[0]
        for block in range(self.depth):
            names += [f"blocks.{block}.conv.weight", f"blocks.{block}.conv.bias"]
            shapes += [(self.width, channels, 3, 3), (self.width,)]
            if self.norm != "none":
                names += [f"blocks.{block}.norm.weight", f"blocks.{block}.norm.bias"]
                shapes += [(self.width,), (self.width,)]
            channels = self.width
        names += ["classifier.weight", "classifier.bias"]
        features = channels * math.prod(self._final_size)
        shapes += [(self.classes, features), (self.classes,)]
        return Layout(tuple(names), tuple(shapes), self.classes * (features + 1))

    def initial(self, generator: torch.Generator) -> Tensor:
        """Weights, biases uniform within 1/sqrt(fan-in), PyTorch's default; norms at identity."""
        parts = []
        bound = 0.0
        for name, shape in zip(self.layout.names, self.layout.shapes, strict=True):
            if ".norm." in name:
                parts.append(torch.full(shape, float(name.endswith("weight"))))
                continue
            if name.endswith("weight"):
                bound = 1 / math.sqrt(math.prod(shape[1:]))
            parts.append((2 * torch.rand(shape, generator=generator) - 1) * bound)
        return torch.cat([part.flatten() for part in parts])

    def __call__(
        self, params: Tensor, images: Tensor, statistics: Statistics | None = None
    ) -> Tensor:
        own = self.layout.unflatten(params)
        return self._rest(own, *self._begun(own, images), statistics)

    def features(self, params: Tensor, images: Tensor) -> Tensor:
        own = self.layout.unflatten(params)
        return self._blocks(own, *self._begun(own, images))

    def statistics(self, params: Tensor, images: Tensor) -> Statistics:
        recorded: Statistics = []
        if self.norm == "batch":
            own = self.layout.unflatten(params)
            self._blocks(own, *self._begun(own, images), record=recorded)
        return recorded

    def derivative(
        self, params: Tensor, images: Tensor, direction: Tensor
    ) -> tuple[Tensor, Tensor]:
        own, moves = self.layout.unflatten(params), self.layout.unflatten(direction)
        # Forward mode would not see that the images stay, and convolve zeros as well.
        x, dx, done = self._begun_along(own, moves, images)
        if self._in_one_pass(images):
            return self._rest_along(own, moves, x, dx, done)

        def rest(own: Parameters, x: Tensor) -> Tensor:
            return self._rest(own, x, done)

        scores, change = torch.func.jvp(rest, (own, x), (moves, dx))[:2]
        return scores, change

    # All of these take the parameters as tensors: taken apart once, their derivatives are put
    # together once.

    def _prepared(self, images: Tensor) -> Tensor:
        """What the stem convolves: images [B, c, H, W], or of few channels patches [B, n, ...]."""
        few = self.shape[0] <= MOST_CHANNELS and self.precision == "bfloat16"
        if few and compiled_for_gpu(images):
            rows: Tensor = patches(images, self._first_padding, torch.bfloat16)
            return rows
        return images

    def _stem(self, own: Parameters, prepared: Tensor) -> Tensor:
        """The first convolution."""
        kernel, bias = own[:2]
        if prepared.ndim == 4:
            return self._convolve(prepared, kernel, bias, self._first_padding)
        x = convolve_patches(prepared, kernel.bfloat16(), self._sizes[0])
        return self._biased(x, bias)

    def _begun(self, own: Parameters, images: Tensor) -> tuple[Tensor, int]:
        """What the stem makes, and 0; or what the first block makes, and 1, in one pass."""
        if not self._begins_in_one_pass(images):
            return self._stem(own, self._prepared(images)), 0
        kernel, _, *others = own[:4]
        given = self._as_convolved(images), self._as_convolved(kernel), *others
        return begin(*given, self._first_padding, self._rounded_after(0)), 1

    def _rest(
        self, own: Parameters, x: Tensor, done: int, statistics: Statistics | None = None
    ) -> Tensor:
        """Class scores [B, K] from what `_begun` gives."""
        return linear(self._blocks(own, x, done, statistics), *own[-2:])

    def _blocks(
        self,
        own: Parameters,
        x: Tensor,
        done: int,
        statistics: Statistics | None = None,
        record: Statistics | None = None,
    ) -> Tensor:
        """Features [B, F] from what `_begun` gives; statistics used are added to `record`."""
        parameters = iter(own[4 if done else 2 :])
        for block in range(done, self.depth):
            if block > 0:
                x = self._convolve(x, next(parameters), next(parameters), 1)
            if self._in_one_pass(x):
                x = activate(x, next(parameters), next(parameters), self._rounded_after(block))
                continue
            x = x.to(own[0].dtype)
            if self.norm != "none":
                given = statistics[block] if statistics and self.norm == "batch" else None
                used = given or _statistics(x, self.norm)
                if record is not None:
                    record.append(used)
                weight, bias = next(parameters), next(parameters)
                each = (1, -1, 1, 1)
                x = normalise(x, *used, weight.view(each), bias.view(each), EPSILON)
            x = _pool(x.relu(), self.pooling)
        return x.flatten(1)

    def _begun_along(
        self, own: Parameters, moves: Parameters, images: Tensor
    ) -> tuple[Tensor, Tensor, int]:
        """What `_begun` gives, with its derivative along `moves` second."""
        # The stem is linear in its parameters, so its derivative is the stem at `moves`.
        if not self._begins_in_one_pass(images):
            prepared = self._prepared(images)
            return self._stem(own, prepared), self._stem(moves, prepared), 0
        kernels, _, weights, biases = list(zip(own, moves, strict=True))[:4]
        given = map(self._as_convolved, (images, *kernels))
        rounded = self._rounded_after(0)
        return *begin_along(*given, *weights, *biases, self._first_padding, rounded), 1

    def _rest_along(
        self, own: Parameters, moves: Parameters, x: Tensor, dx: Tensor, done: int
    ) -> tuple[Tensor, Tensor]:
        """`_rest` and its derivative, by the rules of differentiation instead of forward mode: for
        blocks in one pass."""
        parameters = iter(list(zip(own, moves, strict=True))[4 if done else 2 :])
        for block in range(done, self.depth):
            if block > 0:
                (weight, move), (bias, _) = next(parameters), next(parameters)
                along_weight = self._convolve(x, move, bias, 1)
                if compiled_for_gpu(x) and len(x) <= FEW_IMAGES:
                    x, dx = self._convolve(torch.cat([x, dx]), weight, bias, 1).chunk(2)
                else:
                    x, dx = self._convolve(x, weight, bias, 1), self._convolve(dx, weight, bias, 1)
                dx = dx + along_weight
            both = *next(parameters), *next(parameters)
            x, dx = activate_along(x, dx, *both, self._rounded_after(block))
        x, dx = x.flatten(1), dx.flatten(1)
        (weight, move), (bias, bias_move) = parameters
        return linear(x, weight, bias), linear(dx, weight) + linear(x, move, bias_move)

    def _in_one_pass(self, x: Tensor) -> bool:
        """Whether what follows a convolution of x's device and type is done by `activate`."""
        plain = self.norm == "instance" and self.pooling == "average"
        return plain and can_activate(x, self.width, self._sizes)

    def _begins_in_one_pass(self, images: Tensor) -> bool:
        """Whether the first block is done by `begin`."""
        return self._in_one_pass(images) and can_begin(images, self.width)

    def _as_convolved(self, x: Tensor) -> Tensor:
        """Float32 numbers as the convolutions' precision has them."""
        return x.bfloat16().float() if self.precision == "bfloat16" else x

    def _rounded_after(self, block: int) -> bool:
        """Whether what a block makes is rounded for the next convolution."""
        return self.precision == "bfloat16" and block < self.depth - 1

    def _convolve(self, x: Tensor, weight: Tensor, bias: Tensor, padding: int) -> Tensor:
        """In bfloat16 if that is the convolutions' precision and no bias is added."""
        if self.precision == "bfloat16":
            x, weight = x.bfloat16(), weight.bfloat16()
        if compiled_for_gpu(x):
            x, weight = as_gpus_convolve(x), as_gpus_convolve(weight)
        return self._biased(F.conv2d(x, weight, padding=padding), bias)

    def _biased(self, x: Tensor, bias: Tensor) -> Tensor:
        # Instance and batch normalisation subtract a channel's mean: a bias would have no effect.
        plain = self.norm in ("instance", "batch")
        return x if plain else x.to(bias.dtype) + bias.view(1, -1, 1, 1)


def _statistics(x: Tensor, norm: Norm) -> tuple[Tensor, Tensor]:
    """Mean and variance that `norm` uses, broadcastable to x [B, width, h, w]."""
    if norm == "batch":
        return batch_moments(x)
    return group_moments(x, {"instance": x.shape[1], "group": GROUPS, "layer": 1}[norm])


def _pool(x: Tensor, pooling: Pooling) -> Tensor:
    """2x2 pooling; an odd last row or column is left out."""
    if pooling == "average":
        return F.avg_pool2d(x, 2)
    return x if pooling == "none" else max_pool(x, 2, 2)
