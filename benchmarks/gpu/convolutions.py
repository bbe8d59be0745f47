"""How should images lie in memory, in what precision, and does cuDNN have to try its algorithms?

Letters: B batch, G students side by side, whose convolutions are one in G groups.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from datm.runtime.device import round_convolutions
from gpu.problems import Place

BATCHES = (10, 256, 1000)
CASES = (
    (3, 128, 32, 1),
    (8, 128, 32, 1),  # the first layer with its colours padded
    (128, 128, 16, 1),
    (128, 128, 8, 1),
    (15, 640, 32, 5),
    (640, 640, 16, 5),
)
"""Channels in and out, side of the images, groups."""
LAYOUTS = {"nchw": torch.contiguous_format, "nhwc": torch.channels_last}
REPEATS = 10


def convolutions(place: Place) -> None:
    """Print microseconds of forward, gradient by input, gradient by weight, for every layout."""
    print(
        "us of forward / by input / by weight; *: with torch.backends.cudnn.benchmark", flush=True
    )
    for batch in (2,) if place.quick else BATCHES:
        for case in ((3, 4, 8, 1), (4, 8, 8, 2)) if place.quick else CASES:
            if case[3] > 1 and batch > 256:
                continue  # nobody trains so many at once
            for precision in place.precisions("float32", "tf32", "bfloat16"):
                round_convolutions(precision)
                dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
                print(_line(place, batch, case, dtype, precision), flush=True)


def _line(
    place: Place, batch: int, case: tuple[int, int, int, int], dtype: torch.dtype, precision: str
) -> str:
    inputs, outputs, side, groups = case
    cells = []
    for trying in (False, True):
        for name, layout in LAYOUTS.items():

            def random(*shape: int, layout: torch.memory_format = layout) -> Tensor:
                values = torch.randn(shape, device=place.device, dtype=dtype)
                return values.contiguous(memory_format=layout)

            x = random(batch, inputs, side, side)
            weight = random(outputs, inputs // groups, 3, 3)
            y = random(batch, outputs, side, side)
            torch.backends.cudnn.benchmark = trying
            times = [timed(place, work) for work in _works(x, weight, y, groups)]
            torch.backends.cudnn.benchmark = False
            shown = "/".join(f"{microseconds:.0f}" for microseconds in times)
            cells.append(f"{name}{'*' if trying else ''} {shown}")
    title = f"B={batch} {inputs}->{outputs} at {side}, {groups} groups, {precision}"
    return f"{title}: {'  '.join(cells)}"


def _works(x: Tensor, weight: Tensor, y: Tensor, groups: int) -> list[Callable[[], object]]:
    def backward(by_input: bool) -> object:
        wanted = [by_input, not by_input, False]
        return torch.ops.aten.convolution_backward(
            y, x, weight, None, [1, 1], [1, 1], [1, 1], False, [0, 0], groups, wanted
        )

    def forward() -> object:
        return torch.nn.functional.conv2d(x, weight, padding=1, groups=groups)

    return [forward, lambda: backward(True), lambda: backward(False)]


def timed(place: Place, work: Callable[[], object]) -> float:
    """Microseconds that the device takes for one call (on a CPU: none are measured)."""
    for _ in range(3):
        work()
    if not place.on_gpu:
        return 0.0
    began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    began.record()
    for _ in range(REPEATS):
        work()
    ended.record()
    ended.synchronize()
    return 1000 * float(began.elapsed_time(ended)) / REPEATS
