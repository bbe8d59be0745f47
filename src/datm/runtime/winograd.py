"""3x3 convolutions on a CPU with a quarter of the products (Lavin & Gray 2016, F(4x4, 3x3)).

Two operators of PyTorch, written in `winograd.cpp`, and the pass that puts them into a compiled
function in the place of PyTorch's. Both are bilinear, and the derivatives of each are calls of
them: whatever automatic differentiation makes of a network, they can stand for its convolutions.

Shapes: B images, C channels in, K channels out, H x W pixels, H' = H + 2 padding - 2.
"""

import ctypes
from typing import Any

import torch
from torch import Tensor, fx
from torch._inductor import ir, lowering
from torch._inductor.custom_graph_pass import CustomGraphPass

from datm.runtime.native import native

FEWEST_CHANNELS = 16
"""With fewer, in or out, transforming costs more than it saves."""
SMALLEST_SHARE = 0.5
"""Least share of the 4x4 tiles that must be outputs, and not hang over the edge."""


@torch.library.custom_op("datm::convolve_3x3", mutates_args=(), device_types="cpu")
def convolve(x: Tensor, weight: Tensor, padding: int, turned: bool) -> Tensor:
    """x [B, C, H, W] convolved with weight [K, C, 3, 3]: [B, K, H', W'], channels last, float32.

    turned: weight is [C, K, 3, 3] and rotated by half a turn. With `padding` 2 - p that pulls the
    derivative by a convolution of padding p back to its input.
    """
    x, weight = x.contiguous(memory_format=torch.channels_last), weight.contiguous()
    result: Tensor = _outputs(x, weight, padding, turned)
    b, c, h, w = x.shape
    _call("datm_convolve", x, weight, result, b, h, w, c, result.shape[1], padding, int(turned))
    return result


@torch.library.custom_op("datm::weight_gradient_3x3", mutates_args=(), device_types="cpu")
def weight_gradient(x: Tensor, by_output: Tensor, padding: int) -> Tensor:
    """The derivative [K, C, 3, 3] by the weight of <by_output [B, K, H', W'], convolution of x>."""
    x = x.contiguous(memory_format=torch.channels_last)
    by_output = by_output.contiguous(memory_format=torch.channels_last)
    result: Tensor = _weights(x, by_output, padding)
    b, c, h, w = x.shape
    _call("datm_weight_gradient", x, by_output, result, b, h, w, c, by_output.shape[1], padding)
    return result


def _call(name: str, *arguments: Tensor | int) -> None:
    library = native("winograd")
    assert library is not None, "put into graphs only where it was built"
    given = [
        ctypes.c_void_p(value.data_ptr()) if isinstance(value, Tensor) else ctypes.c_int64(value)
        for value in arguments
    ]
    if getattr(library, name)(*given, ctypes.c_int64(torch.get_num_threads())):
        raise MemoryError(f"{name}: no memory is left for the transformed weights")


@convolve.register_fake
def _outputs(x: Tensor, weight: Tensor, padding: int, turned: bool) -> Tensor:
    b, _, h, w = x.shape
    shape = (b, weight.shape[1 if turned else 0], h + 2 * padding - 2, w + 2 * padding - 2)
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)


@weight_gradient.register_fake
def _weights(x: Tensor, by_output: Tensor, padding: int) -> Tensor:
    return x.new_empty(by_output.shape[1], x.shape[1], 3, 3)


def _laid_out(_: fx.Node, *arguments: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What the compiler is asked of the operators' arguments, as for its own convolutions."""
    images = ir.ExternKernel.require_channels_last
    return (images(arguments[0]), *arguments[1:]), {}


def _both_laid_out(_: fx.Node, *arguments: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    images = ir.ExternKernel.require_channels_last
    return (images(arguments[0]), images(arguments[1]), *arguments[2:]), {}


for _operator, _layout in (convolve, _laid_out), (weight_gradient, _both_laid_out):
    lowering.make_fallback(_operator._opoverload, _layout, warn=False)  # type: ignore[no-untyped-call]


class Winograd(CustomGraphPass):
    """Exchanges, in a graph, the convolutions that these operators compute faster."""

    def __call__(self, graph: fx.Graph) -> None:
        if native("winograd") is None:
            return
        aten = torch.ops.aten
        for node in graph.find_nodes(op="call_function", target=aten.convolution.default):
            _exchange_convolution(graph, node)
        for node in graph.find_nodes(op="call_function", target=aten.convolution_backward.default):
            _exchange_backward(graph, node)

    def uuid(self) -> Any:
        """Names this version of the pass to the compiler's cache."""
        return f"datm-winograd-3-{native('winograd') is not None}"


def _exchange_convolution(graph: fx.Graph, node: fx.Node) -> None:
    arguments: tuple[Any, ...] = node.args
    x, weight, bias, *geometry = arguments
    if (padding := _padding(x, weight, *geometry)) is None:
        return
    with graph.inserting_before(node):
        new = _insert(graph, convolve, x, weight, padding, False)
        if bias is not None:
            each = _insert(graph, torch.ops.aten.view.default, bias, [1, -1, 1, 1])
            new = _insert(graph, torch.ops.aten.add.Tensor, new, each)
    node.replace_all_uses_with(new)
    graph.erase_node(node)


def _exchange_backward(graph: fx.Graph, node: fx.Node) -> None:
    arguments: tuple[Any, ...] = node.args
    by_output, x, weight, _, *geometry, _ = arguments
    if (padding := _padding(x, weight, *geometry)) is None:
        return
    for user in list(node.users):
        with graph.inserting_before(user):
            match user.args[1]:
                case 0:
                    new = _insert(graph, convolve, by_output, weight, 2 - padding, True)
                case 1:
                    new = _insert(graph, weight_gradient, x, by_output, padding)
                case _:
                    new = _insert(graph, torch.ops.aten.sum.dim_IntList, by_output, [0, 2, 3])
        user.replace_all_uses_with(new)
        graph.erase_node(user)
    graph.erase_node(node)


def _padding(
    x: Any,
    weight: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    _: Any,
    groups: int,
) -> int | None:
    """The padding of a convolution that these operators can compute and do so faster, else None."""
    image, kernel = x.meta["val"], weight.meta["val"]
    plain = list(stride) == list(dilation) == [1, 1] and not transposed and groups == 1
    if not plain or kernel.shape[2:] != (3, 3) or image.ndim != 4 or padding[0] != padding[1]:
        return None
    if image.device.type != "cpu" or image.dtype != torch.float32 != kernel.dtype:
        return None
    height, width = (side + 2 * padding[0] - 2 for side in image.shape[2:])
    covered = 16 * -(-height // 4) * -(-width // 4)
    enough = min(kernel.shape[:2]) >= FEWEST_CHANNELS and covered > 0
    if not enough or height * width < SMALLEST_SHARE * covered:
        return None
    return int(padding[0])


def _insert(graph: fx.Graph, target: Any, *arguments: Any) -> fx.Node:
    """A call in the graph, with the shape of its result noted as the compiler expects it."""
    overload = getattr(target, "_opoverload", target)
    node = graph.call_function(overload, arguments)
    values = [arg.meta["val"] if isinstance(arg, fx.Node) else arg for arg in arguments]
    mode = next(value.fake_mode for value in values if isinstance(value, Tensor))  # type: ignore[attr-defined]
    with mode:
        node.meta["val"] = overload(*values)
    return node
