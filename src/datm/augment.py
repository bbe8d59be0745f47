"""Differentiable Siamese augmentation (Zhao & Bilen 2021).

One operation is drawn per batch; its parameters are drawn per image, three uniform numbers each.
An `Augmentation` is such a draw: a linear (affine) map of the images, the same every time it is
applied, so a gradient can be pulled back through it later.

Shapes: B images, c channels, H height, W width.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from datm.errors import InputError
from datm.runtime.seeds import generator

BRIGHTNESS = 0.5  # additive, +-
SATURATION = 2.0  # factor in (0, 2)
CONTRAST = 0.5  # factor in 1 +- 0.5
CROP = 0.125  # largest shift, as a share of the side
CUTOUT = 0.5  # side of the hole, as a share of the side
SCALE = 1.2  # factor in (1/1.2, 1.2), per axis
ROTATION = 15.0  # degrees, +-


@dataclass(frozen=True)
class Augmentation:
    """One drawn operation: its name and uniform numbers in [0, 1), one row [3] for each image."""

    operation: str
    uniforms: Tensor

    def __call__(self, images: Tensor) -> Tensor:
        """The augmented images [B, c, H, W]; a linear (affine) function of `images`."""
        if self.operation == "none":
            return images
        # Memory that is not page-locked is staged before this returns, so it may be freed at once.
        uniforms = self.uniforms.to(images.device, images.dtype, non_blocking=True)
        return OPERATIONS[self.operation](images, uniforms)


@dataclass(frozen=True)
class Augmentations:
    """One drawn operation for each of N inner steps; uniforms [N, B, 3].

    flipped: all images are flipped left to right before.
    """

    operations: tuple[str, ...]
    uniforms: Tensor
    flipped: bool = False

    @classmethod
    def of(cls, draws: Sequence[Augmentation]) -> "Augmentations":
        """Those of single steps, of equal batches, as one."""
        operations = tuple(draw.operation for draw in draws)
        return cls(operations, torch.stack([draw.uniforms for draw in draws]))

    def __call__(self, step: int, images: Tensor) -> Tensor:
        """`images` [B, c, H, W] as inner step `step` sees them."""
        return self[step](self.turned(images))

    def block(self, first: int, images: Tensor) -> Tensor:
        """Images [n, B, c, H, W] of the n steps from `first` on, in few large operations."""
        draws = [self[first + k] for k in range(len(images))]
        return together(draws, self.turned(images))

    def turned(self, images: Tensor) -> Tensor:
        """`images` [..., W], flipped or not."""
        return images.flip(-1) if self.flipped else images

    def __getitem__(self, step: int) -> Augmentation:
        return Augmentation(self.operations[step], self.uniforms[step])


@dataclass(frozen=True)
class SideBySide:
    """The augmentations of G students, for images with a leading axis G."""

    own: tuple[Augmentations, ...]

    def __call__(self, step: int, images: Tensor) -> Tensor:
        """`images` [G, B, c, H, W], each student's under its own draw."""
        return together([own[step] for own in self.own], self.turned(images))

    def block(self, first: int, images: Tensor) -> Tensor:
        """Images [G, n, B, c, H, W] of the n steps from `first` on."""
        draws = [own[first + k] for own in self.own for k in range(images.shape[1])]
        return together(draws, self.turned(images).flatten(0, 1)).view(images.shape)

    def turned(self, images: Tensor) -> Tensor:
        """`images` [G, ..., W], flipped or not, each student's by itself."""
        if not any(own.flipped for own in self.own):
            return images
        return torch.stack([own.turned(part) for own, part in zip(self.own, images, strict=True)])


def augmented(strategy: str, seeds: Sequence[int], steps: range, images: Tensor) -> Tensor:
    """Images [G, n, B, c, H, W] as trainings with these G seeds see them at these n steps."""
    own = [
        [draw_augmentation(strategy, images.shape[2], generator(s, "augment", i)) for i in steps]
        for s in seeds
    ]
    return SideBySide(tuple(map(Augmentations.of, own))).block(0, images)


def together(draws: Sequence[Augmentation], images: Tensor) -> Tensor:
    """Batches [m, B, c, H, W], each under its own draw; those of one operation in one go."""
    batches = images.unbind(0)
    done: dict[int, Tensor] = {}
    for operation in {draw.operation: None for draw in draws}:
        numbers = [k for k, draw in enumerate(draws) if draw.operation == operation]
        drawn = Augmentation(operation, torch.cat([draws[k].uniforms for k in numbers]))
        found = drawn(torch.cat([batches[k] for k in numbers]))
        done |= zip(numbers, torch.split(found, images.shape[1]), strict=True)
    return torch.stack([done[k] for k in range(len(draws))])


def parse_strategy(strategy: str) -> tuple[str, ...]:
    """The operations of a strategy such as "colour_crop_cutout_flip_scale_rotate" or "none".

    Raises InputError for an unknown or repeated operation.
    """
    if strategy == "none":
        return ()
    operations = tuple(strategy.split("_"))
    for name in operations:
        if name not in OPERATIONS or operations.count(name) > 1:
            found = "given twice" if name in OPERATIONS else "not known"
            raise InputError(
                f"augmentation: {name!r} in {strategy!r} is {found}; join any of"
                f" {', '.join(OPERATIONS)} by '_', or give none."
            )
    return operations


def draw_augmentation(strategy: str, batch: int, generator: torch.Generator) -> Augmentation:
    """One operation of `strategy`, with its parameters for `batch` images."""
    operations = parse_strategy(strategy)
    if not operations:
        return Augmentation("none", torch.empty(batch, 0))
    chosen = operations[int(torch.randint(len(operations), (), generator=generator))]
    return Augmentation(chosen, torch.rand(batch, 3, generator=generator))


def _per_image(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)


def _colour(images: Tensor, uniforms: Tensor) -> Tensor:
    """Brightness, then saturation about each pixel's mean, then contrast about the image's mean."""
    images = images + _per_image((2 * uniforms[:, 0] - 1) * BRIGHTNESS)
    grey = images.mean(1, keepdim=True)
    images = (images - grey) * _per_image(uniforms[:, 1] * SATURATION) + grey
    mean = images.mean((1, 2, 3), keepdim=True)
    return (images - mean) * _per_image(1 + (2 * uniforms[:, 2] - 1) * CONTRAST) + mean


def _integers(uniforms: Tensor, low: int, high: int) -> Tensor:
    """Whole numbers low..high, both included, from uniform numbers."""
    return (low + (uniforms * (high - low + 1)).floor()).long().clamp(max=high)


def _crop(images: Tensor, uniforms: Tensor) -> Tensor:
    """Shift by up to an eighth of the side (to the nearest pixel); what comes in is zero."""
    b, c, height, width = images.shape
    reach_y, reach_x = int(height * CROP + 0.5), int(width * CROP + 0.5)
    padded = F.pad(images, (reach_x, reach_x, reach_y, reach_y))
    shift_y = _integers(uniforms[:, 0], 0, 2 * reach_y)
    shift_x = _integers(uniforms[:, 1], 0, 2 * reach_x)
    rows = shift_y[:, None] + torch.arange(height, device=images.device)
    columns = shift_x[:, None] + torch.arange(width, device=images.device)
    padded = padded.gather(2, rows[:, None, :, None].expand(b, c, height, padded.shape[3]))
    return padded.gather(3, columns[:, None, None, :].expand(b, c, height, width))


def _cutout(images: Tensor, uniforms: Tensor) -> Tensor:
    """Zero a rectangle of half the side, its centre anywhere in the image."""
    in_hole = torch.ones(1, 1, 1, 1, dtype=torch.bool, device=images.device)
    for axis, column in ((2, 0), (3, 1)):
        side = images.shape[axis]
        hole = int(side * CUTOUT + 0.5)
        first = _integers(uniforms[:, column], 0, side - 1) - hole // 2
        position = torch.arange(side, device=images.device)
        inside = (position >= first[:, None]) & (position < first[:, None] + hole)
        shape = [len(images), 1, 1, 1]
        shape[axis] = side
        in_hole = in_hole & inside.view(shape)
    return images * ~in_hole


def _flip(images: Tensor, uniforms: Tensor) -> Tensor:
    """Mirror left to right, every second image on average."""
    return torch.where(_per_image(uniforms[:, 0]) < 0.5, images.flip(3), images)


def _scale(images: Tensor, uniforms: Tensor) -> Tensor:
    """Stretch each axis by a factor in (1/1.2, 1.2)."""
    factors = 1 / SCALE + uniforms[:, :2] * (SCALE - 1 / SCALE)
    return _affine(images, torch.diag_embed(factors))


def _rotate(images: Tensor, uniforms: Tensor) -> Tensor:
    """Turn about the centre by up to 15 degrees either way."""
    angle = (2 * uniforms[:, 0] - 1) * math.radians(ROTATION)
    # The grid's axes both run from -1 to 1: on a non-square image a turn has to know the ratio.
    ratio = images.shape[2] / images.shape[3]
    sine, cosine = angle.sin(), angle.cos()
    rows = [torch.stack([cosine, -sine * ratio], 1), torch.stack([sine / ratio, cosine], 1)]
    return _affine(images, torch.stack(rows, 1))


def _affine(images: Tensor, matrices: Tensor) -> Tensor:
    """Sample each image along its 2x2 matrix: bilinear, zero outside."""
    theta = F.pad(matrices, (0, 1))
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


OPERATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "colour": _colour,
    "crop": _crop,
    "cutout": _cutout,
    "flip": _flip,
    "scale": _scale,
    "rotate": _rotate,
}
