"""From pixels in [0, 1] into the training space and back.

Shapes: n images, c channels, H height, W width, D = c*H*W pixels.

- none: the pixels themselves.
- normalise: (x - mean) / std, per channel.
- zca: (x - mean) @ whitening over the flattened image (see whitening.py).

A distilled set carries its transform, so the ZCA matrix (symmetric, D x D) travels as its upper
triangle in float16: 9.4 MB for CIFAR instead of 37.7 MB. The rounding belongs to the definition:
the matrix in use holds float16 values from the start, so saving and loading changes no bit.
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, get_args

import torch
from torch import Tensor

from datm.data.whitening import check_dimension, zca
from datm.errors import InputError

Kind = Literal["none", "normalise", "zca"]


@dataclass(frozen=True, eq=False)
class Transform:
    """A fixed map into the training space; `transform(images)` applies it, `inverse` undoes it.

    mean: [c] (normalise), [D] (zca) or [0]; scale: std [c], whitening matrix [D, D] or [0]; all
    float32. Both directions are differentiable in the images.
    """

    kind: Kind
    mean: Tensor = field(default_factory=lambda: torch.empty(0), repr=False)
    scale: Tensor = field(default_factory=lambda: torch.empty(0), repr=False)

    def __call__(self, images: Tensor) -> Tensor:
        """[n, c, H, W] uint8, or float in [0, 1], -> the training space, float32, same shape."""
        x = images.float().div(255) if images.dtype == torch.uint8 else images.float()
        if self.kind == "none":
            return x
        if self.kind == "normalise":
            return (x - self.mean.view(-1, 1, 1)) / self.scale.view(-1, 1, 1)
        return ((x.flatten(1) - self.mean) @ self.scale).view(x.shape)

    def inverse(self, x: Tensor) -> Tensor:
        """[n, c, H, W] in the training space -> pixels in [0, 1] space, not clamped."""
        if self.kind == "none":
            return x
        if self.kind == "normalise":
            return x * self.scale.view(-1, 1, 1) + self.mean.view(-1, 1, 1)
        return (x.flatten(1) @ self._unwhitening + self.mean).view(x.shape)

    @cached_property
    def _unwhitening(self) -> Tensor:
        """[D, D] float32, the inverse of the matrix in use. Costs O(D^3) once, on first use."""
        # On the CPU: float64 is slow on many accelerators and missing on some.
        inverse: Tensor = torch.linalg.inv(self.scale.cpu().double())
        return inverse.float().to(self.scale.device)

    def to(self, device: torch.device | str) -> "Transform":
        if torch.device(device) == self.scale.device:
            return self  # with what is cached
        moved = Transform(self.kind, self.mean.to(device), self.scale.to(device))
        if "_unwhitening" in self.__dict__:
            moved.__dict__["_unwhitening"] = self._unwhitening.to(device)
        return moved

    def tensors(self) -> dict[str, Tensor]:
        """What safetensors stores of it, on the CPU; `from_tensors` gives the same bits back."""
        if self.kind == "none":
            return {}
        if self.kind == "normalise":
            return {"mean": self.mean.cpu(), "std": self.scale.cpu()}
        rows, columns = torch.triu_indices(len(self.mean), len(self.mean))
        return {"mean": self.mean.cpu(), "whitening": self.scale.cpu()[rows, columns].half()}

    @classmethod
    def from_tensors(cls, kind: str, tensors: dict[str, Tensor]) -> "Transform":
        """The transform that `tensors()` was asked of. Raises InputError where it cannot be."""
        if kind not in get_args(Kind):
            raise InputError(f"transform: {kind!r} is unknown; one of {', '.join(get_args(Kind))}.")
        if kind == "none":
            return cls("none")
        second = "std" if kind == "normalise" else "whitening"
        missing = {"mean", second} - tensors.keys()
        if missing:
            raise InputError(f"transform.{min(missing)}: missing, but {kind} needs it.")
        mean, scale = tensors["mean"].float(), tensors[second]
        d = len(mean)
        expected = d if kind == "normalise" else d * (d + 1) // 2
        if scale.shape != (expected,):
            raise InputError(
                f"transform.{second}: has shape {list(scale.shape)}, but {d} means need "
                f"[{expected}]; the file is damaged."
            )
        if kind == "normalise":
            return cls("normalise", mean, scale.float())
        return cls("zca", mean, _symmetric(scale, d))


def fit_transform(kind: Kind, images: Tensor) -> Transform:
    """The transform of this kind for training images [n, c, H, W] uint8.

    Raises InputError where zca would need a matrix too large to be made.
    """
    if kind == "none":
        return Transform("none")
    if kind == "normalise":
        mean, std = _channel_statistics(images)
        return Transform("normalise", mean.float(), std.float())
    d = images[0].numel()
    check_dimension(d)
    mean, whitening = zca(images)
    rows, columns = torch.triu_indices(d, d)
    return Transform("zca", mean.float(), _symmetric(whitening[rows, columns].half(), d))


def _channel_statistics(images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation [c] of the pixels in [0, 1], float64, from exact counts."""
    values = torch.arange(256, dtype=torch.float64) / 255
    means, deviations = [], []
    for channel in range(images.shape[1]):
        counts = torch.bincount(images[:, channel].flatten(), minlength=256).cpu().double()
        share = counts / counts.sum()
        mean = (share * values).sum()
        means.append(mean)
        deviations.append((share * (values - mean) ** 2).sum().sqrt())
    std = torch.stack(deviations)
    # A channel of one value carries nothing; dividing by 1 keeps it at 0.
    return torch.stack(means), torch.where(std > 0, std, torch.ones_like(std))


def _symmetric(triangle: Tensor, d: int) -> Tensor:
    """[d(d+1)/2] upper triangle, row by row, -> [d, d] float32."""
    rows, columns = torch.triu_indices(d, d)
    matrix = torch.empty(d, d)
    matrix[rows, columns] = triangle.float()
    matrix[columns, rows] = triangle.float()
    return matrix
