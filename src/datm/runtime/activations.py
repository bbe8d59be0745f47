"""What stands between two convolutions, in one pass over memory.

Instance normalisation with affine parameters, ReLU and 2x2 average pooling (an odd last row or
column is left out), and the same together with its derivative along a direction. Both can be
differentiated backwards, once.

Shapes: B images, C channels, H x W pixels. Images are channels last, float32 or bfloat16; all else
is float32.
"""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from datm.runtime.native import call, native, operator

LIBRARY = "activations"
MULTIPLE = 32
"""Channels are done so many at a time."""
MOST_PIXELS = 1024
"""That a GPU's kernels hold at once."""
TYPES = torch.float32, torch.bfloat16
DEVICES = "CPU", "CUDA"

Tensors = tuple[Tensor, ...]


def can_activate(x: Tensor, channels: int, sizes: Sequence[tuple[int, int]]) -> bool:
    """Whether `activate` can take so many channels of x's type and device, in images of `sizes`.

    Only in functions that are compiled.
    """
    if not torch.compiler.is_compiling() or x.dtype not in TYPES or channels % MULTIPLE:
        return False
    if is_on_gpu(x):
        even = all(h % 2 == w % 2 == 0 and h * w <= MOST_PIXELS for h, w in sizes)
        return even and has_triton()
    return x.device.type == "cpu" and built(LIBRARY)


def is_on_gpu(x: Tensor) -> bool:
    return x.is_cuda


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def built(library: str) -> bool:
    """Whether there is that library, as a constant of what is compiled."""
    return native(library) is not None


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def has_triton() -> bool:
    """Whether kernels for a GPU can be compiled, as a constant of what is compiled."""
    return find_spec("triton") is not None


@torch.compiler.allow_in_graph  # type: ignore[untyped-decorator]
def activate(x: Tensor, weight: Tensor, bias: Tensor, rounded: bool = False) -> Tensor:
    """[B, C, H/2, W/2] of x [B, C, H, W], weight and bias [C].

    rounded: in the type of x, not in float32. Raises ValueError for an x that it cannot take.
    """
    result: Tensor = _Activate.apply(x, weight, bias, rounded)[0]  # type: ignore[no-untyped-call]
    return result


@torch.compiler.allow_in_graph  # type: ignore[untyped-decorator]
def activate_along(
    x: Tensor,
    dx: Tensor,
    weight: Tensor,
    dweight: Tensor,
    bias: Tensor,
    dbias: Tensor,
    rounded: bool = False,
) -> tuple[Tensor, Tensor]:
    """The same, and its derivative along (dx, dweight, dbias), of the shapes of x, weight, bias."""
    y, dy, *_ = _ActivateAlong.apply(x, dx, weight, dweight, bias, dbias, rounded)  # type: ignore[no-untyped-call]
    return y, dy


class _Activate(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(*arguments: Any) -> Tensors:
        return _forward(*arguments)  # type: ignore[no-any-return]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensors) -> None:
        x, weight, bias, ctx.rounded = inputs
        _, *statistics = output
        ctx.mark_non_differentiable(*statistics)
        ctx.save_for_backward(x, *statistics, weight, bias)
        ctx.save_for_forward(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, by_y: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        by_x, by_weight, by_bias = Last.apply(_backward, *ctx.saved_tensors, by_y)  # type: ignore[no-untyped-call]
        return by_x, by_weight.sum(0), by_bias.sum(0), None

    @staticmethod
    def jvp(ctx: Any, *moves: Any) -> tuple[Tensor | None, ...]:
        given = ctx.saved_tensors
        pairs = zip(given, moves, strict=False)
        each = [(own, torch.zeros_like(own) if move is None else move) for own, move in pairs]
        _, dy = activate_along(*(tensor for pair in each for tensor in pair), ctx.rounded)
        return dy, None, None


class _ActivateAlong(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(*arguments: Any) -> Tensors:
        return _forward_along(*arguments)  # type: ignore[no-any-return]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensors) -> None:
        x, dx, weight, dweight, bias, _, _ = inputs
        _, _, *statistics = output
        ctx.mark_non_differentiable(*statistics)
        ctx.save_for_backward(x, dx, *statistics, weight, dweight, bias)

    @staticmethod
    def backward(ctx: Any, by_y: Tensor, by_dy: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        by_x, by_dx, *others = Last.apply(_backward_along, *ctx.saved_tensors, by_y, by_dy)  # type: ignore[no-untyped-call]
        return by_x, by_dx, *(each.sum(0) for each in others), None


class Last(torch.autograd.Function):
    """A backward pass, and its arguments: to differentiate it is an error, where PyTorch would give
    zeros."""

    generate_vmap_rule = True

    @staticmethod
    def forward(backward: Callable[..., Tensors], *arguments: Any) -> Tensors:
        return backward(*arguments)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensors) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *_: Any) -> None:
        raise RuntimeError("blocks in one pass can be differentiated backwards once only")


# The operators. Statistics, and derivatives by parameters for each image, are [B, C].


def _empty_forward(x: Tensor, weight: Tensor, bias: Tensor, rounded: bool) -> Tensors:
    return _pooled(x, rounded), *_statistics(x, 2)


@operator(
    "activate",
    "(Tensor x, Tensor weight, Tensor bias, bool rounded) -> (Tensor, Tensor, Tensor)",
    _empty_forward,
    DEVICES,
)
def _forward(x: Tensor, weight: Tensor, bias: Tensor, rounded: bool) -> Tensors:
    """y; means, rates"""
    x = channels_last(x)
    results = _empty_forward(x, weight, bias, rounded)
    _call("forward", x, results[0], x, weight, bias, *results)
    return results


def _empty_backward(x: Tensor, *others: Tensor) -> Tensors:
    return _like(x), *_statistics(x, 2)


@operator(
    "activate_backward",
    "(Tensor x, Tensor mean, Tensor rate, Tensor weight, Tensor bias, Tensor by_y)"
    " -> (Tensor, Tensor, Tensor)",
    _empty_backward,
    DEVICES,
)
def _backward(x: Tensor, *others: Tensor) -> Tensors:
    """Derivatives by x; weight, bias"""
    x, by_y = channels_last(x), channels_last(others[-1])
    results = _empty_backward(x)
    _call("backward", x, by_y, x, *others[:-1], by_y, *results)
    return results


def _empty_forward_along(x: Tensor, *others: Any) -> Tensors:
    rounded = others[-1]
    return _pooled(x, rounded), _pooled(x, rounded), *_statistics(x, 4)


@operator(
    "activate_along",
    "(Tensor x, Tensor dx, Tensor weight, Tensor dweight, Tensor bias, Tensor dbias, bool rounded)"
    " -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
    _empty_forward_along,
    DEVICES,
)
def _forward_along(x: Tensor, dx: Tensor, *others: Any) -> Tensors:
    """y, dy; means, rates, means of dx, overlaps of x and dx"""
    x, dx = channels_last(x), channels_last(dx.to(x.dtype))
    results = _empty_forward_along(x, *others)
    _call("forward_along", x, results[0], x, dx, *others[:-1], *results)
    return results


def _empty_backward_along(x: Tensor, *others: Tensor) -> Tensors:
    return _like(x), _like(x), *_statistics(x, 4)


@operator(
    "activate_along_backward",
    "(Tensor x, Tensor dx, Tensor mean, Tensor rate, Tensor dmean, Tensor overlap, Tensor weight,"
    " Tensor dweight, Tensor bias, Tensor by_y, Tensor by_dy)"
    " -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
    _empty_backward_along,
    DEVICES,
)
def _backward_along(x: Tensor, dx: Tensor, *others: Tensor) -> Tensors:
    """Derivatives by x, dx; weight, dweight, bias, dbias"""
    *known, by_y, by_dy = others
    x, dx, by_y, by_dy = map(channels_last, (x, dx.to(x.dtype), by_y, by_dy))
    results = _empty_backward_along(x)
    _call("backward_along", x, by_y, x, dx, *known, by_y, by_dy, *results)
    return results


def _call(function: str, x: Tensor, y: Tensor, *arguments: Tensor) -> None:
    b, c, h, w = x.shape
    if x.dtype not in TYPES or c % MULTIPLE:
        raise ValueError(
            f"activate: {c} channels in {x.dtype}; give float32 or bfloat16 and a"
            f" multiple of {MULTIPLE} channels"
        )
    half = [int(images.dtype == torch.bfloat16) for images in (x, y)]
    dense = [tensor if tensor.ndim == 4 else tensor.contiguous() for tensor in arguments]
    if x.is_cuda:
        from datm.runtime import activations_gpu  # needs triton

        activations_gpu.call(function, x, *dense)
        return
    call(LIBRARY, function, *dense, *half, b, h, w, c)


def _pooled(x: Tensor, rounded: bool) -> Tensor:
    return pooled(x, x.shape, x.dtype if rounded else torch.float32)


def _statistics(x: Tensor, count: int) -> Tensors:
    return per_channel(x, len(x), x.shape[1], count)


def _like(x: Tensor) -> Tensor:
    return torch.empty_like(x, memory_format=torch.channels_last)


# Parts that `first_block` shares.


def pooled(like: Tensor, size: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Memory for what pooling makes of `size` (B, C, H, W), where `like` is."""
    b, c, h, w = size
    halved = b, c, h // 2, w // 2
    return torch.empty(halved, dtype=dtype, device=like.device, memory_format=torch.channels_last)


def per_channel(like: Tensor, images: int, channels: int, count: int) -> Tensors:
    """Memory for `count` tensors [B, C] float32, where `like` is."""
    size = images, channels
    return tuple(like.new_empty(size, dtype=torch.float32) for _ in range(count))


def channels_last(images: Tensor) -> Tensor:
    """Images [B, C, H, W] with the channels of a pixel side by side."""
    return images.contiguous(memory_format=torch.channels_last)
