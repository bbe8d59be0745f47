"""A network's first block on a CPU in one pass over memory: a 3x3 convolution of stride 1 with few
channels in, without a bias, and what `activations` does behind it.

What the convolution makes, the largest tensor of a network, is never kept: it stays in the cache,
and is made anew in the backward pass. All is differentiable backwards, once.

Shapes: B images, C channels, H x W pixels, K channels out; H' = H + 2 padding - 2. Images are
channels last; all is float32.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from datm.runtime.activations import (
    MULTIPLE,
    Last,
    activate_along,
    built,
    can_activate,
    channels_last,
    per_channel,
    pooled,
)
from datm.runtime.native import call, operator

LIBRARY = "first_block"
FEW_CHANNELS = 16
"""With as many coming in, other ways to convolve are faster."""

IN_ORDER, CHANNELS_LAST = torch.contiguous_format, torch.channels_last

Tensors = tuple[Tensor, ...]


def can_begin(images: Tensor, channels: int) -> bool:
    """Whether `begin` can make so many channels of images: in functions compiled for a CPU."""
    if images.device.type != "cpu" or images.dtype != torch.float32:
        return False
    few = images.shape[1] < FEW_CHANNELS
    return few and can_activate(images, channels, ()) and built(LIBRARY)


@torch.compiler.allow_in_graph  # type: ignore[untyped-decorator]
def begin(
    images: Tensor,
    kernel: Tensor,
    weight: Tensor,
    bias: Tensor,
    padding: int,
    rounded: bool = False,
) -> Tensor:
    """[B, K, H'/2, W'/2] of images [B, C, H, W], kernel [K, C, 3, 3], weight and bias [K].

    rounded: to bfloat16. Raises ValueError for what it cannot take.
    """
    result: Tensor = _Begin.apply(images, kernel, weight, bias, padding, rounded)[0]  # type: ignore[no-untyped-call]
    return result


@torch.compiler.allow_in_graph  # type: ignore[untyped-decorator]
def begin_along(
    images: Tensor,
    kernel: Tensor,
    dkernel: Tensor,
    weight: Tensor,
    dweight: Tensor,
    bias: Tensor,
    dbias: Tensor,
    padding: int,
    rounded: bool = False,
) -> tuple[Tensor, Tensor]:
    """The same, and its derivative as the parameters, not the images, move along dkernel, ..."""
    given = images, kernel, dkernel, weight, dweight, bias, dbias, padding, rounded
    y, dy, *_ = _BeginAlong.apply(*given)  # type: ignore[no-untyped-call]
    return y, dy


class _Begin(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(*arguments: Any) -> Tensors:
        return _forward(*arguments)  # type: ignore[no-any-return]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensors) -> None:
        images, kernel, weight, bias, ctx.padding, ctx.rounded = inputs
        _, *statistics = output
        ctx.mark_non_differentiable(*statistics)
        ctx.save_for_backward(images, kernel, *statistics, weight, bias)
        ctx.save_for_forward(images, kernel, weight, bias)

    @staticmethod
    def backward(ctx: Any, by_y: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        wanted = ctx.needs_input_grad[:2]
        given = ctx.saved_tensors
        by_images, by_kernel, by_weight, by_bias = Last.apply(
            _backward, *given, by_y, ctx.padding, *wanted
        )  # type: ignore[no-untyped-call]
        own = _if_wanted((by_images, by_kernel), wanted)
        return *own, by_weight.sum(0), by_bias.sum(0), None, None

    @staticmethod
    def jvp(ctx: Any, *moves: Any) -> tuple[Tensor | None, ...]:
        # Images may move here: rare, so composed of what there is.
        given = ctx.saved_tensors
        pairs = zip(given, moves, strict=False)
        images_move, kernel_move, *others = [
            torch.zeros_like(own) if move is None else move for own, move in pairs
        ]
        images, kernel, weight, bias = given
        x = F.conv2d(images, kernel, padding=ctx.padding)
        dx = F.conv2d(images_move, kernel, padding=ctx.padding)
        dx = dx + F.conv2d(images, kernel_move, padding=ctx.padding)
        _, dy = activate_along(x, dx, weight, others[0], bias, others[1])
        return dy.bfloat16() if ctx.rounded else dy, None, None


class _BeginAlong(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(*arguments: Any) -> Tensors:
        return _forward_along(*arguments)  # type: ignore[no-any-return]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensors) -> None:
        images, kernel, dkernel, weight, dweight, bias, _, ctx.padding, _ = inputs
        _, _, *statistics = output
        ctx.mark_non_differentiable(*statistics)
        ctx.save_for_backward(images, kernel, dkernel, *statistics, weight, dweight, bias)

    @staticmethod
    def backward(ctx: Any, by_y: Tensor, by_dy: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        wanted = ctx.needs_input_grad[:3]
        results = Last.apply(_backward_along, *ctx.saved_tensors, by_y, by_dy, ctx.padding, *wanted)  # type: ignore[no-untyped-call]
        own = _if_wanted(results[:3], wanted)
        return *own, *(each.sum(0) for each in results[3:]), None, None


def _if_wanted(results: Tensors, wanted: tuple[bool, ...]) -> tuple[Tensor | None, ...]:
    return tuple(own if want else None for own, want in zip(results, wanted, strict=True))


# The operators. Statistics, and derivatives by weight and bias for each image, are [B, K]. What is
# not wanted is empty.


def _empty_forward(images: Tensor, kernel: Tensor, *others: Any) -> Tensors:
    padding, rounded = others[-2:]
    return _y(images, kernel, padding, rounded), *_statistics(images, kernel, 2)


@operator(
    "begin",
    "(Tensor images, Tensor kernel, Tensor weight, Tensor bias, int padding, bool rounded)"
    " -> (Tensor, Tensor, Tensor)",
    _empty_forward,
)
def _forward(
    images: Tensor, kernel: Tensor, weight: Tensor, bias: Tensor, padding: int, rounded: bool
) -> Tensors:
    """y; means, rates"""
    results = _empty_forward(images, kernel, padding, rounded)
    _call("forward", (images, kernel, weight, bias), results, padding)
    return results


def _empty_backward(images: Tensor, kernel: Tensor, *others: Any) -> Tensors:
    *_, by_images, by_kernel = others
    own = _wanted(images, by_images, CHANNELS_LAST), _wanted(kernel, by_kernel)
    return *own, *_statistics(images, kernel, 2)


@operator(
    "begin_backward",
    "(Tensor images, Tensor kernel, Tensor mean, Tensor rate, Tensor weight, Tensor bias,"
    " Tensor by_y, int padding, bool by_images, bool by_kernel)"
    " -> (Tensor, Tensor, Tensor, Tensor)",
    _empty_backward,
)
def _backward(*arguments: Any) -> Tensors:
    """Derivatives by images, kernel; weight, bias"""
    *tensors, by_y, padding, by_images, by_kernel = arguments
    results = _empty_backward(*arguments)
    _call("backward", tensors, results, padding, [by_y], [by_images, by_kernel])
    return results


def _empty_forward_along(images: Tensor, kernel: Tensor, *others: Any) -> Tensors:
    padding, rounded = others[-2:]
    both = (_y(images, kernel, padding, rounded) for _ in range(2))
    return *both, *_statistics(images, kernel, 4)


@operator(
    "begin_along",
    "(Tensor images, Tensor kernel, Tensor dkernel, Tensor weight, Tensor dweight, Tensor bias,"
    " Tensor dbias, int padding, bool rounded)"
    " -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
    _empty_forward_along,
)
def _forward_along(*arguments: Any) -> Tensors:
    """y, dy; means, rates, means of dx, overlaps of x and dx"""
    *tensors, padding, _ = arguments
    results = _empty_forward_along(*arguments)
    _call("forward_along", tensors, results, padding)
    return results


def _empty_backward_along(images: Tensor, kernel: Tensor, *others: Any) -> Tensors:
    *_, by_images, by_kernel, by_dkernel = others
    kernels = _wanted(kernel, by_kernel), _wanted(kernel, by_dkernel)
    return _wanted(images, by_images, CHANNELS_LAST), *kernels, *_statistics(images, kernel, 4)


@operator(
    "begin_along_backward",
    "(Tensor images, Tensor kernel, Tensor dkernel, Tensor mean, Tensor rate, Tensor dmean,"
    " Tensor overlap, Tensor weight, Tensor dweight, Tensor bias, Tensor by_y, Tensor by_dy,"
    " int padding, bool by_images, bool by_kernel, bool by_dkernel)"
    " -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
    _empty_backward_along,
)
def _backward_along(*arguments: Any) -> Tensors:
    """Derivatives by images, kernel, dkernel; weight, dweight, bias, dbias"""
    *tensors, by_y, by_dy, padding, by_images, by_kernel, by_dkernel = arguments
    results = _empty_backward_along(*arguments)
    wanted = by_images, by_kernel, by_dkernel
    _call("backward_along", tensors, results, padding, [by_y, by_dy], wanted)
    return results


def _call(
    function: str,
    given: Sequence[Tensor],
    results: Tensors,
    padding: int,
    by_y: Sequence[Tensor] = (),
    wanted: Sequence[bool] = (),
) -> None:
    """given: images, a kernel or two, what there is for each channel."""
    images, *others = given
    k, dtypes = len(others[0]), {images.dtype, *(each.dtype for each in others)}
    if dtypes != {torch.float32} or k % MULTIPLE:
        raise ValueError(
            f"begin: {k} channels in {', '.join(map(str, dtypes))}; give float32 and a multiple of"
            f" {MULTIPLE} channels"
        )
    dense = channels_last(images), *(each.contiguous() for each in others)
    y = (*by_y, *results)[0]
    b, c, h, w = images.shape
    sizes = *map(int, (y.dtype == torch.bfloat16, *wanted)), b, h, w, c, k, padding
    call(LIBRARY, function, *dense, *map(channels_last, by_y), *results, *sizes)


def _y(images: Tensor, kernel: Tensor, padding: int, rounded: bool) -> Tensor:
    b, _, h, w = images.shape
    size = (b, len(kernel), h + 2 * padding - 2, w + 2 * padding - 2)
    return pooled(images, size, torch.bfloat16 if rounded else torch.float32)


def _statistics(images: Tensor, kernel: Tensor, count: int) -> Tensors:
    return per_channel(images, len(images), len(kernel), count)


def _wanted(like: Tensor, wanted: bool, layout: torch.memory_format = IN_ORDER) -> Tensor:
    return torch.empty_like(like, memory_format=layout) if wanted else like.new_empty(0)
