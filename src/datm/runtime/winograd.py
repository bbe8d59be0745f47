"""3x3 convolutions on a CPU with a quarter of the products (Lavin & Gray 2016, F(4x4, 3x3)).

Two operators of PyTorch, written in `kernels/winograd.cpp`. Both are bilinear, and the derivatives
of each are calls of them. All tensors are float32.

Shapes: B images, C channels in, K channels out, H x W pixels, H' = H + 2 padding - 2.
"""

import torch
from torch import Tensor

from datm.runtime.native import call, operator


def _outputs(x: Tensor, weight: Tensor, padding: int, turned: bool) -> Tensor:
    b, _, h, w = x.shape
    shape = (b, weight.shape[1 if turned else 0], h + 2 * padding - 2, w + 2 * padding - 2)
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)


def _weights(x: Tensor, by_output: Tensor, padding: int) -> Tensor:
    return x.new_empty(by_output.shape[1], x.shape[1], 3, 3)


@operator(
    "winograd_convolve", "(Tensor x, Tensor weight, int padding, bool turned) -> Tensor", _outputs
)
def convolve(x: Tensor, weight: Tensor, padding: int, turned: bool) -> Tensor:
    """x [B, C, H, W] convolved with weight [K, C, 3, 3]: [B, K, H', W'], channels last.

    turned: weight is [C, K, 3, 3] and rotated by half a turn. With `padding` 2 - p that pulls the
    derivative by a convolution of padding p back to its input.
    """
    x, weight = x.contiguous(memory_format=torch.channels_last), weight.contiguous()
    result = _outputs(x, weight, padding, turned)
    b, c, h, w = x.shape
    sizes = b, h, w, c, result.shape[1], padding, int(turned)
    call("winograd", "datm_winograd_convolve", x, weight, result, *sizes)
    return result


@operator(
    "winograd_weight_gradient", "(Tensor x, Tensor by_output, int padding) -> Tensor", _weights
)
def weight_gradient(x: Tensor, by_output: Tensor, padding: int) -> Tensor:
    """The derivative [K, C, 3, 3] by the weight of <by_output [B, K, H', W'], convolution of x>."""
    x = x.contiguous(memory_format=torch.channels_last)
    by_output = by_output.contiguous(memory_format=torch.channels_last)
    result = _weights(x, by_output, padding)
    b, c, h, w = x.shape
    sizes = b, h, w, c, by_output.shape[1], padding
    call("winograd", "datm_winograd_weight_gradient", x, by_output, result, *sizes)
    return result
