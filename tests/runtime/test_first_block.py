"""A network's first block in one pass: against plain arithmetic in float64."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from operators import activated, derivatives, draw, errors, images, needs_compiler
from torch import Tensor, fx
from torch._dynamo.backends.common import aot_autograd

from datm.networks import make_network
from datm.runtime.device import Precision
from datm.runtime.first_block import begin, begin_along
from datm.runtime.seeds import generator

pytestmark = needs_compiler

SHAPES = [
    # (B, C, H, W), K, padding
    ((1, 3, 8, 8), 32, 1),
    ((5, 3, 7, 9), 64, 1),
    ((2, 1, 12, 12), 32, 3),
    ((3, 4, 9, 6), 96, 2),
    ((2, 3, 32, 32), 128, 1),
]
TOLERANCE = 5e-6
HALF = 8e-3
"""Of a result's norm, rounded to bfloat16."""

Arguments = list[Tensor]


def plain(images: Tensor, kernel: Tensor, weight: Tensor, bias: Tensor, padding: int) -> Tensor:
    return activated(F.conv2d(images, kernel, padding=padding), weight, bias)


def along(*given: Tensor, padding: int) -> tuple[Tensor, Tensor]:
    pixels, kernel, dkernel, weight, dweight, bias, dbias = given

    def moved(kernel: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return plain(pixels, kernel, weight, bias, padding)

    y, dy = torch.func.jvp(moved, (kernel, weight, bias), (dkernel, dweight, dbias))
    return y, dy


def parameters(shape: tuple[int, ...], channels: int, number: int = 0) -> Arguments:
    """kernel, weight, bias, or a direction of theirs for another number."""
    kernel = draw(channels, shape[1], 3, 3, number + 1)[..., 0]
    return [kernel, draw(channels, number + 1)[:, 0], 0.3 * draw(channels, number + 2)[:, 0]]


def moving(shape: tuple[int, ...], channels: int) -> Arguments:
    """The arguments of `begin_along`."""
    both = zip(parameters(shape, channels), parameters(shape, channels, 4), strict=True)
    return [images(*shape), *(tensor for pair in both for tensor in pair)]


@pytest.mark.parametrize("rounded", [False, True])
@pytest.mark.parametrize(("shape", "channels", "padding"), SHAPES, ids=str)
def test_forward_and_backward(
    shape: tuple[int, ...], channels: int, padding: int, rounded: bool
) -> None:
    arguments = [images(*shape), *parameters(shape, channels)]
    found = derivatives(lambda *given: (begin(*given, padding, rounded),), arguments)
    expected = derivatives(
        lambda *given: (plain(*given, padding),), [argument.double() for argument in arguments]
    )
    assert found[0][0].dtype == (torch.bfloat16 if rounded else torch.float32)
    assert errors(found, expected) < (HALF if rounded else TOLERANCE)


@pytest.mark.parametrize("rounded", [False, True])
@pytest.mark.parametrize(("shape", "channels", "padding"), SHAPES, ids=str)
def test_along_a_direction(
    shape: tuple[int, ...], channels: int, padding: int, rounded: bool
) -> None:
    arguments = moving(shape, channels)
    found = derivatives(lambda *given: begin_along(*given, padding, rounded), arguments)
    expected = derivatives(
        lambda *given: along(*given, padding=padding),
        [argument.double() for argument in arguments],
    )
    assert errors(found, expected) < (3 * HALF if rounded else 2 * TOLERANCE)


@pytest.mark.parametrize("wanted", [[0], [1], [2], [0, 1], [3, 4, 5, 6]], ids=str)
def test_what_is_wanted_alone_is_the_same(wanted: list[int]) -> None:
    arguments = moving((3, 3, 8, 8), 32)

    def by(numbers: list[int]) -> list[Tensor]:
        leaves = [own.clone().requires_grad_(i in numbers) for i, own in enumerate(arguments)]
        y, dy = begin_along(*leaves, padding=1)
        total = (y.square() + (dy * y)).sum()
        return list(torch.autograd.grad(total, [leaves[i] for i in numbers]))

    every = by(list(range(7)))
    for i, own in zip(wanted, by(wanted), strict=True):
        assert torch.equal(own, every[i])


def test_forward_mode_goes_along_too_and_images_may_move() -> None:
    pixels, *rest = images(3, 3, 8, 8), *parameters((3, 3, 8, 8), 32)
    moves = [images(4, 3, 8, 8)[1:], *parameters((3, 3, 8, 8), 32, 4)]

    def of(*given: Tensor) -> Tensor:
        return begin(*given, 1)

    found = torch.func.jvp(of, (pixels, *rest), tuple(moves))
    doubles = [[own.double() for own in each] for each in ((pixels, *rest), moves)]
    expected = torch.func.jvp(lambda *given: plain(*given, 1), *map(tuple, doubles))
    assert errors((list(found), []), (list(expected), [])) < TOLERANCE


def test_a_second_way_back_is_refused() -> None:
    pixels = images(1, 3, 4, 4).requires_grad_()
    y = begin(pixels, *parameters((1, 3), 32), 1)
    (by_pixels,) = torch.autograd.grad(y.square().sum(), pixels, create_graph=True)
    with pytest.raises(RuntimeError, match="once only"):
        torch.autograd.grad(by_pixels.sum(), pixels)


@pytest.mark.parametrize(
    "arguments",
    [
        [images(2, 3, 4, 4), *parameters((2, 3), 48)],
        [images(2, 3, 4, 4).double(), *parameters((2, 3), 32)],
        [images(2, 3, 4, 4), *(own.double() for own in parameters((2, 3), 32))],
    ],
)
def test_what_cannot_be_taken_is_refused(arguments: Arguments) -> None:
    with pytest.raises(ValueError, match="float32 and a multiple of 32"):
        begin(*arguments, 1)


def test_layouts_of_memory_change_nothing() -> None:
    pixels, kernel, weight, bias = images(2, 3, 8, 8), *parameters((2, 3), 32)
    strided = torch.stack([weight, bias], 1).unbind(1)
    turned = kernel.permute(1, 2, 3, 0).contiguous().permute(3, 0, 1, 2)
    found = begin(pixels.contiguous(), turned, *strided, 1)
    assert torch.equal(found, begin(pixels, kernel, weight, bias, 1))


def test_the_number_of_threads_changes_sums_over_images_only() -> None:
    arguments = [images(5, 3, 6, 6), *parameters((5, 3), 32)]
    results = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        results.append(derivatives(lambda *given: (begin(*given, 1),), arguments))
    torch.set_num_threads(1)
    (one, (by_images, by_kernel, *_)), (three, (same, close, *_)) = results
    assert torch.equal(one[0], three[0])
    assert torch.equal(by_images, same)
    assert torch.allclose(by_kernel, close, rtol=1e-4, atol=1e-5)


def test_side_by_side_equals_one_by_one() -> None:
    pixels = images(6, 3, 4, 4).view(2, 3, 3, 4, 4)
    kernel, weight, bias = parameters((3, 3), 32)

    def gradient(pixels: Tensor, kernel: Tensor) -> tuple[Tensor, ...]:
        def loss(pixels: Tensor, kernel: Tensor) -> Tensor:
            return begin(pixels, kernel, weight, bias, 1).square().sum()

        return torch.func.grad(loss, argnums=(0, 1))(pixels, kernel)

    kernels = torch.stack([kernel, 2 * kernel])
    found = torch.func.vmap(gradient)(pixels, kernels)
    one_by_one = [gradient(*each) for each in zip(pixels, kernels, strict=True)]
    for several, own in zip(found, zip(*one_by_one, strict=True), strict=True):
        assert torch.equal(several, torch.stack(own))


def graph_of(function: Callable[..., object], *arguments: Tensor) -> list[str]:
    """The package's operators, and convolutions, in what the compiler is given."""
    found: list[str] = []

    def collect(module: fx.GraphModule, _: object) -> fx.GraphModule:
        names = [getattr(node.target, "__name__", "") for node in module.graph.nodes]
        found.extend(name for name in names if "begin" in name or "convolution" in name)
        return module

    torch.compiler.reset()  # else the versions of networks are too many for it
    with torch.no_grad():
        backend = aot_autograd(fw_compiler=collect)
        torch.compile(function, backend=backend, fullgraph=True)(*arguments)
    return sorted(name.removesuffix(".default") for name in found)


@pytest.mark.parametrize(
    ("spec", "channels", "serves"),
    [
        ("width=32", 3, True),
        ("width=32", 1, True),
        ("width=32", 16, False),
        ("width=48", 3, False),
        ("norm=batch,width=32", 3, False),
        ("pooling=max,width=32", 3, False),
    ],
)
def test_where_it_serves(spec: str, channels: int, serves: bool) -> None:
    network = make_network(f"convnet-1,{spec}", (channels, 8, 8), 4)
    params = network.initial(generator(0, "initial"))
    found = graph_of(network, params, draw(2, channels, 8, 8))
    assert found == (["begin"] if serves else ["convolution"])


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_derivatives_of_a_compiled_network_convolve_nothing_else(precision: Precision) -> None:
    network = make_network("convnet-1,width=32", (3, 8, 8), 4, precision)
    params = network.initial(generator(0, "initial"))

    def both(params: Tensor, pixels: Tensor) -> tuple[Tensor, Tensor]:
        def loss(params: Tensor) -> Tensor:
            return network(params, pixels).square().sum()

        def slope(params: Tensor, pixels: Tensor) -> Tensor:
            direction = torch.ones_like(params)
            return network.derivative(params, pixels, direction)[1].square().sum()

        return torch.func.grad(loss)(params), *torch.func.grad(slope, (0, 1))(params, pixels)

    found = graph_of(both, params, draw(2, 3, 8, 8))
    assert found == ["begin", "begin_along", "begin_along_backward", "begin_backward"]
