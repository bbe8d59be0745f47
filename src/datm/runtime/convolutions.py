"""3x3 convolutions of stride 1 on a CPU, in two ways that PyTorch does not offer.

Each way is three operators of PyTorch: a convolution and its derivatives by its input and by its
weight. All three are bilinear, and the derivatives of each are calls of the others. Images and
what comes of them are channels last; all tensors are float32.

- WINOGRAD, with a quarter of the products (Lavin & Gray 2016, F(4x4, 3x3)); its rounding errors
  are up to ten times those of a plain sum.
- FEW_CHANNELS, the same for few input channels, where the products are no matrices.

Shapes: B images, C channels in, K channels out, H x W pixels, H' = H + 2 padding - 2.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from datm.runtime.native import call, operator

Operator = Callable[[Any, Any, int], Any]


@dataclass(frozen=True)
class Way:
    """A way of computing convolutions; `name` is that of its library."""

    name: str
    convolve: Operator
    """(x [B, C, H, W], weight [K, C, 3, 3], padding) -> [B, K, H', W']"""
    input_gradient: Operator
    """(by_output [B, K, H', W'], weight, padding) -> [B, C, H, W]: of <by_output, convolution>"""
    weight_gradient: Operator
    """(x, by_output, padding) -> [K, C, 3, 3]"""


def _way(name: str) -> Way:
    @operator(f"{name}_convolve", "(Tensor x, Tensor weight, int padding) -> Tensor", _outputs)
    def convolve(x: Tensor, weight: Tensor, padding: int) -> Tensor:
        result = _outputs(x, weight, padding)
        sizes = *_sizes(x), len(weight), padding
        call(name, "convolve", _channels_last(x), weight.contiguous(), result, *sizes)
        return result

    @operator(
        f"{name}_input_gradient",
        "(Tensor by_output, Tensor weight, int padding) -> Tensor",
        _inputs,
    )
    def input_gradient(by_output: Tensor, weight: Tensor, padding: int) -> Tensor:
        result = _inputs(by_output, weight, padding)
        sizes = *_sizes(result), len(weight), padding
        arguments = _channels_last(by_output), weight.contiguous(), result
        call(name, "input_gradient", *arguments, *sizes)
        return result

    @operator(
        f"{name}_weight_gradient", "(Tensor x, Tensor by_output, int padding) -> Tensor", _weights
    )
    def weight_gradient(x: Tensor, by_output: Tensor, padding: int) -> Tensor:
        result = _weights(x, by_output, padding)
        sizes = *_sizes(x), by_output.shape[1], padding
        arguments = _channels_last(x), _channels_last(by_output), result
        call(name, "weight_gradient", *arguments, *sizes)
        return result

    return Way(name, convolve, input_gradient, weight_gradient)


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


def _channels_last(images: Tensor) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last)


def _sizes(images: Tensor) -> tuple[int, int, int, int]:
    """B, H, W, C: as the libraries take them."""
    b, c, h, w = images.shape
    return b, h, w, c


WINOGRAD, FEW_CHANNELS = _way("winograd"), _way("few_channels")
