"""Convolutions of few channels on a GPU, as matrix products: images as their 3x3 patches.

cuDNN's kernels for 3 channels fill them up, change their order and change it back, and of a
gradient by the images they compute 64 or 128 channels.

Shapes: B images, C channels, H x W pixels, K outputs, H' x W' pixels of them, COLUMNS numbers of a
patch.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

KERNEL = 3
COLUMNS = 32
"""Of which the first 9 C hold something: so many that rows begin at multiples of 16 bytes."""
MOST_CHANNELS = COLUMNS // KERNEL**2


@torch.compiler.allow_in_graph  # type: ignore[untyped-decorator]
def patches(images: Tensor, padding: int, dtype: torch.dtype) -> Tensor:
    """[B, H' W', COLUMNS] in `dtype` of images [B, C, H, W], C at most MOST_CHANNELS.

    A row is a patch as a kernel [C, 3, 3] lies in memory, and zeros. Can be differentiated
    backwards, once.
    """
    result: Tensor = _Patches.apply(images, padding, dtype)  # type: ignore[no-untyped-call]
    return result


def convolve_patches(rows: Tensor, kernel: Tensor, size: tuple[int, int]) -> Tensor:
    """[B, K, H', W'], channels last: the convolution whose patches are `rows`, size being (H', W').

    kernel: [K, C, 3, 3] of the type of `rows`. Image by image, for then the kernel's gradient is a
    product for each image and a sum, where a single one would be 32 x K numbers and all of its
    length one program's work.
    """
    b, k = len(rows), len(kernel)
    columns = F.pad(kernel.flatten(1), (0, COLUMNS - kernel[0].numel())).t()
    result = torch.bmm(rows, columns.expand(b, COLUMNS, k))
    return result.view(b, *size, k).permute(0, 3, 1, 2)


class _Patches(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(images: Tensor, padding: int, dtype: torch.dtype) -> Tensor:
        b, c, h, w = images.shape
        height, width = h + 2 * padding - 2, w + 2 * padding - 2
        column = torch.arange(COLUMNS, device=images.device)
        channel, down, right = column // 9, column % 9 // 3, column % 3
        row = torch.arange(height, device=images.device).view(-1, 1, 1) + down
        place = torch.arange(width, device=images.device).view(-1, 1) + right
        padded = F.pad(images, (padding,) * 4)
        found = padded[:, channel.clamp(max=c - 1), row, place]
        found = torch.where(channel < c, found, 0.0)
        return found.to(dtype).view(b, height * width, COLUMNS)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        images, ctx.padding, _ = inputs
        ctx.shape, ctx.dtype = images.shape, images.dtype

    @staticmethod
    def backward(ctx: Any, by_rows: Tensor) -> tuple[Tensor | None, ...]:
        b, c, h, w = ctx.shape
        height, width = h + 2 * ctx.padding - 2, w + 2 * ctx.padding - 2
        by_patches = by_rows[..., : 9 * c].view(b, height, width, c, 3, 3).permute(0, 3, 1, 2, 4, 5)
        total = torch.zeros((), dtype=ctx.dtype, device=by_rows.device)
        for down in range(KERNEL):
            for right in range(KERNEL):
                top, left = down - ctx.padding, right - ctx.padding
                around = left, w - width - left, top, h - height - top
                total = total + F.pad(by_patches[..., down, right].to(ctx.dtype), around)
        return total, None, None
