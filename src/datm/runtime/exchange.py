"""Which convolutions of a function compiled for a CPU are computed by this package's operators.

`Exchange` is a pass over the compiler's graph, in which all derivatives stand already: networks are
written with PyTorch's convolutions, and whatever automatic differentiation makes of these is
exchanged where a way of `convolutions` is faster. Anything else stays as it is.
"""

from typing import Any

import torch
from torch import Tensor, fx
from torch._inductor import ir, lowering
from torch._inductor.custom_graph_pass import CustomGraphPass, get_hash_for_files

from datm.runtime import convolutions
from datm.runtime.convolutions import FEW_CHANNELS, WINOGRAD, Way
from datm.runtime.native import native

aten = torch.ops.aten

MANY = 16
"""With fewer channels going in, the products of a frequency are too small for matrices."""
MANY_OUTPUTS = 64
"""With fewer coming out of few channels, PyTorch's kernels are as fast."""
SMALLEST_SHARE = 0.5
"""Least share of Winograd's 4x4 tiles that must be outputs, and not hang over the edge."""


class Exchange(CustomGraphPass):
    """The pass, as torch.compile's option `post_grad_custom_pre_pass`."""

    def __call__(self, graph: fx.Graph) -> None:
        for node in graph.find_nodes(op="call_function", target=aten.convolution.default):
            _exchange_convolution(graph, node)
        for node in graph.find_nodes(op="call_function", target=aten.convolution_backward.default):
            _exchange_backward(graph, node)

    def uuid(self) -> Any:
        """Names what this pass does to the compiler's cache."""
        built = [way.name for way in (WINOGRAD, FEW_CHANNELS) if native(way.name)]
        return get_hash_for_files((__file__, convolutions.__file__)), built


def _exchange_convolution(graph: fx.Graph, node: fx.Node) -> None:
    arguments: tuple[Any, ...] = node.args
    x, weight, bias, *geometry = arguments
    way, padding = _way(x, weight, *geometry)
    if way is None:
        return
    with graph.inserting_before(node):
        new = _insert(graph, way.convolve, x, weight, padding)
        if bias is not None:
            each = _insert(graph, aten.view.default, bias, [1, -1, 1, 1])
            new = _insert(graph, aten.add.Tensor, new, each)
    node.replace_all_uses_with(new)
    graph.erase_node(node)


def _exchange_backward(graph: fx.Graph, node: fx.Node) -> None:
    arguments: tuple[Any, ...] = node.args
    by_output, x, weight, _, *geometry, _ = arguments
    way, padding = _way(x, weight, *geometry)
    if way is None:
        return
    calls = (
        (way.input_gradient, by_output, weight, padding),
        (way.weight_gradient, x, by_output, padding),
        (aten.sum.dim_IntList, by_output, [0, 2, 3]),
    )
    for user in list(node.users):
        with graph.inserting_before(user):
            new = _insert(graph, *calls[user.args[1]])  # type: ignore[index]
        user.replace_all_uses_with(new)
        graph.erase_node(user)
    graph.erase_node(node)


def _way(
    x: Any,
    weight: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    _: Any,
    groups: int,
) -> tuple[Way | None, int]:
    """The way of computing a convolution faster than PyTorch does, if any, and its padding."""
    image, kernel = x.meta["val"], weight.meta["val"]
    plain = list(stride) == list(dilation) == [1, 1] and not transposed and groups == 1
    square = kernel.shape[2:] == (3, 3) and image.ndim == 4 and padding[0] == padding[1]
    float32 = image.device.type == "cpu" and image.dtype == kernel.dtype == torch.float32
    if not plain or not square or not float32:
        return None, 0
    height, width = (side + 2 * padding[0] - 2 for side in image.shape[2:])
    covered = 16 * -(-height // 4) * -(-width // 4)
    outputs, inputs = kernel.shape[:2]
    way: Way | None = None
    if inputs < MANY:
        way = FEW_CHANNELS if outputs >= MANY_OUTPUTS else None
    elif outputs >= MANY and height * width >= SMALLEST_SHARE * covered:
        way = WINOGRAD
    return (way, padding[0]) if way and native(way.name) else (None, 0)


def _insert(graph: fx.Graph, target: Any, *arguments: Any) -> fx.Node:
    """A call in the graph, with the shape of its result noted as the compiler expects it."""
    node = graph.call_function(target, arguments)
    values = [arg.meta["val"] if isinstance(arg, fx.Node) else arg for arg in arguments]
    mode = next(value.fake_mode for value in values if isinstance(value, Tensor))  # type: ignore[attr-defined]
    with mode:
        node.meta["val"] = target(*values)
    return node


def _first_laid_out(_: fx.Node, *arguments: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Images in channels last, as the compiler's own convolutions ask for."""
    images = ir.ExternKernel.require_channels_last
    return (images(arguments[0]), *arguments[1:]), {}


def _both_laid_out(_: fx.Node, *arguments: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    images = ir.ExternKernel.require_channels_last
    return (images(arguments[0]), images(arguments[1]), *arguments[2:]), {}


for _each in WINOGRAD, FEW_CHANNELS:
    for _operator, _layout in (
        (_each.convolve, _first_laid_out),
        (_each.input_gradient, _first_laid_out),
        (_each.weight_gradient, _both_laid_out),
    ):
        lowering.make_fallback(_operator, _layout, warn=False)  # type: ignore[no-untyped-call]
