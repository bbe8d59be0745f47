"""Normalisation and maximum pooling as plain arithmetic.

A student's loss is differentiated forward over reverse, compiled and vmapped: sums and products
survive all of that, torch's fused kernels not always.

Shapes: x [B, C, ...], B images, C channels, then any spatial axes.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

SPLIT, FEW_SCORES = 16, 2**14
"""Parts of a sum of products that a GPU makes at once, for as few results as these."""
GPU_CHANNELS = 8
"""Side by side: 16 bytes of bfloat16, as a GPU's kernels load them."""


def moments(x: Tensor, over: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Mean and (population) variance of x over those axes, which stay as ones.

    Sums times a constant, not means: the derivative of a mean divides every entry anew.
    """
    total = x.sum(over, keepdim=True)
    share = total.numel() / x.numel()
    mean = total * share
    centred = x - mean
    return mean, (centred * centred).sum(over, keepdim=True) * share


def batch_moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Of every channel over images and space: [1, C, 1, ...]."""
    return moments(x, (0, *range(2, x.ndim)))


def group_moments(x: Tensor, groups: int) -> tuple[Tensor, Tensor]:
    """Of every image's `groups` groups of channels, broadcastable to x.

    One group is layer normalisation, a channel a group is instance normalisation.
    """
    b, channels, *space = x.shape
    if groups == channels:
        return moments(x, tuple(range(2, x.ndim)))
    if groups == 1:
        return moments(x, tuple(range(1, x.ndim)))
    grouped = x.reshape(b, groups, channels // groups, *space)
    mean, variance = moments(grouped, tuple(range(2, grouped.ndim)))
    ones = [1] * len(space)
    each = (b, groups, channels // groups, *ones)
    flat = (b, channels, *ones)
    return mean.expand(each).reshape(flat), variance.expand(each).reshape(flat)


def normalise(
    x: Tensor,
    mean: Tensor,
    variance: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    epsilon: float,
) -> Tensor:
    """(x - mean) / sqrt(variance + epsilon) * weight + bias; all are broadcastable to x.

    Folded into one product and one sum per entry: what is left, and its derivatives, is per image
    and channel.
    """
    scale = (variance + epsilon).rsqrt()
    if weight is not None:
        scale = weight * scale
    shift = -mean * scale if bias is None else bias - mean * scale
    return x * scale + shift


def compiled_for_gpu(x: Tensor) -> bool:
    """Whether what is being done to x is being compiled, for a GPU."""
    return torch.compiler.is_compiling() and x.is_cuda


def as_gpus_convolve(x: Tensor) -> Tensor:
    """Images or a kernel [B, C, H, W], channels last, few channels filled up with zeros.

    cuDNN has no kernels for 3 channels side by side: it would put them into 8 itself, and into
    another order and back, in seven kernels a convolution.
    """
    if x.shape[1] < GPU_CHANNELS:
        x = F.pad(x, (0, 0, 0, 0, 0, GPU_CHANNELS - x.shape[1]))
    return x.contiguous(memory_format=torch.channels_last)


def linear(features: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """[B, K] of features [B, F], weight [K, F] and bias [K].

    Few results of long sums would be the work of one of a GPU's processors: the sums are split.
    """
    (b, f), k = features.shape, len(weight)
    if not compiled_for_gpu(features) or b * k > FEW_SCORES or f % SPLIT:
        return F.linear(features, weight, bias)
    left = features.view(b, SPLIT, -1).transpose(0, 1)
    right = weight.view(k, SPLIT, -1).permute(1, 2, 0)
    scores = torch.bmm(left, right).sum(0)
    return scores if bias is None else scores + bias


def max_pool(x: Tensor, kernel: int, stride: int, padding: int = 0) -> Tensor:
    """Maximum pooling of x [..., H, W]; what does not fill a window at the end is left out.

    Not max_pool2d: compiled (torch 2.13, CPU), its second derivatives were wrong by 13%. The
    derivative at a tie is the mean of the tied entries', where max_pool2d takes the first's.
    """
    if padding:
        x = F.pad(x, (padding, padding, padding, padding), value=float("-inf"))
    return _max_along(_max_along(x, -2, kernel, stride), -1, kernel, stride)


def _max_along(x: Tensor, axis: int, kernel: int, stride: int) -> Tensor:
    reach = (x.shape[axis] - kernel) // stride * stride + 1
    result = _every(x, axis, 0, reach, stride)
    for offset in range(1, kernel):
        result = torch.maximum(result, _every(x, axis, offset, reach, stride))
    return result


def _every(x: Tensor, axis: int, start: int, reach: int, stride: int) -> Tensor:
    if axis == -1:
        return x[..., start : start + reach : stride]
    return x[..., start : start + reach : stride, :]
