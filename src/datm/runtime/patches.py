"""3x3 convolutions of few channels on a CPU, a network's first layer, as products of matrices.

Three operators of PyTorch, written in `kernels/patches.cpp`. All are bilinear, and the derivatives
of each are calls of them. All tensors are float32.

Shapes: B images, C channels in, K channels out, H x W pixels, H' = H + 2 padding - 2.
"""

import torch
from torch import Tensor

from datm.runtime.native import call, operator


def _outputs(x: Tensor, weight: Tensor, padding: int) -> Tensor:
    b, _, h, w = x.shape
    return _images(x, b, len(weight), h + 2 * padding - 2, w + 2 * padding - 2)


def _inputs(by_output: Tensor, weight: Tensor, padding: int) -> Tensor:
    b, _, h, w = by_output.shape
    return _images(by_output, b, weight.shape[1], h - 2 * padding + 2, w - 2 * padding + 2)


def _weights(x: Tensor, by_output: Tensor, padding: int) -> Tensor:
    return x.new_empty(by_output.shape[1], x.shape[1], 3, 3)


def _images(like: Tensor, *shape: int) -> Tensor:
    return torch.empty(
        shape, dtype=like.dtype, device=like.device, memory_format=torch.channels_last
    )


@operator("patches_convolve", "(Tensor x, Tensor weight, int padding) -> Tensor", _outputs)
def convolve(x: Tensor, weight: Tensor, padding: int) -> Tensor:
    """x [B, C, H, W] convolved with weight [K, C, 3, 3]: [B, K, H', W'], channels last."""
    x, weight = x.contiguous(memory_format=torch.channels_last), weight.contiguous()
    result = _outputs(x, weight, padding)
    b, c, h, w = x.shape
    sizes = b, h, w, c, len(weight), padding
    call("patches", "datm_patches_convolve", x, weight, result, *sizes)
    return result


@operator(
    "patches_input_gradient", "(Tensor by_output, Tensor weight, int padding) -> Tensor", _inputs
)
def input_gradient(by_output: Tensor, weight: Tensor, padding: int) -> Tensor:
    """The derivative [B, C, H, W] by x of <by_output [B, K, H', W'], convolution with weight>."""
    by_output = by_output.contiguous(memory_format=torch.channels_last)
    weight = weight.contiguous()
    result = _inputs(by_output, weight, padding)
    b, c, h, w = result.shape
    sizes = b, h, w, c, len(weight), padding
    call("patches", "datm_patches_input_gradient", by_output, weight, result, *sizes)
    return result


@operator(
    "patches_weight_gradient", "(Tensor x, Tensor by_output, int padding) -> Tensor", _weights
)
def weight_gradient(x: Tensor, by_output: Tensor, padding: int) -> Tensor:
    """The derivative [K, C, 3, 3] by the weight of <by_output [B, K, H', W'], convolution of x>."""
    x = x.contiguous(memory_format=torch.channels_last)
    by_output = by_output.contiguous(memory_format=torch.channels_last)
    result = _weights(x, by_output, padding)
    b, c, h, w = x.shape
    sizes = b, h, w, c, by_output.shape[1], padding
    call("patches", "datm_patches_weight_gradient", x, by_output, result, *sizes)
    return result
