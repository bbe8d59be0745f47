"""Several training images in one stored image: multi-formation (Kim 2022, "IDC").

A stored image is cut into F x F pieces. Each of them, enlarged to the size of the whole, is an
image that networks are trained on, with a label of its own: for the same number of pixels F^2 times
as many images, of 1/F of the resolution. Linear, so a gradient comes back by the transpose.

Shapes: R stored images, S = R F^2 images to train on, c channels, H height, W width.
"""

import torch
import torch.nn.functional as functional
from torch import Tensor

from datm.errors import InputError


def check_formation(formation: int, shape: tuple[int, int, int]) -> None:
    """Raises InputError where images of `shape` (c, H, W) cannot be cut into F x F pieces."""
    height, width = shape[1:]
    if height % formation or width % formation:
        raise InputError(
            f"distill.formation: images of {width}x{height} pixels cannot be cut into"
            f" {formation} by {formation} equal pieces; give a divisor of both sides."
        )


def form(stored: Tensor, formation: int) -> Tensor:
    """[R, c, H, W] -> [S, c, H, W]: the pieces of each stored image, row by row, enlarged."""
    if formation == 1:
        return stored
    r, c, height, width = stored.shape
    h, w = height // formation, width // formation
    grid = stored.reshape(r, c, formation, h, formation, w)
    pieces = grid.permute(0, 2, 4, 1, 3, 5).reshape(-1, c, h, w)
    return functional.interpolate(pieces, (height, width), mode="bilinear", align_corners=False)


def by_stored(gradient: Tensor, formation: int) -> Tensor:
    """[S, c, H, W], a gradient by the formed images -> [R, c, H, W], by the stored ones."""
    if formation == 1:
        return gradient
    stored = torch.zeros_like(gradient[: len(gradient) // formation**2], requires_grad=True)
    (found,) = torch.autograd.grad(form(stored, formation), stored, gradient)
    return found


def store(images: Tensor, formation: int) -> Tensor:
    """[S, c, H, W] -> [R, c, H, W]: F^2 images at a time, made smaller by averaging, in one."""
    if formation == 1:
        return images
    pieces = functional.avg_pool2d(images, formation)
    c, h, w = pieces.shape[1:]
    grid = pieces.view(-1, formation, formation, c, h, w).permute(0, 3, 1, 4, 2, 5)
    return grid.reshape(-1, c, formation * h, formation * w)
