"""A first look at datm on a GPU: is it right, does it wait, what bounds it?

    python benchmarks/gpu_profile.py check syncs
    python benchmarks/gpu_profile.py convs profile
    python benchmarks/gpu_profile.py check syncs convs profile --device cpu --quick

check    compiled functions against eager ones and float64, through warm-up, capture and replays
syncs    every line at which the host waits for the device
convs    convolutions by layout, precision, groups, with and without cuDNN's own trials
profile  time of the host and of the device in an inner step, and the slowest kernels

Printed as it is found; the exit status is 1 where `check` finds something wrong. On a CPU nothing
is compiled or timed: that tries the program itself, with `--quick` on toy sizes in seconds.
"""

import argparse
import logging
import sys
from collections.abc import Callable

from gpu.check import check
from gpu.convolutions import convolutions
from gpu.problems import Place
from gpu.steps import steps
from gpu.waits import waits

from datm.errors import InputError
from datm.runtime.device import Runtime

PARTS: dict[str, Callable[[Place], bool | None]] = {
    "check": check,
    "syncs": waits,
    "convs": convolutions,
    "profile": steps,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("parts", nargs="+", choices=PARTS)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--quick", action="store_true", help="toy sizes")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")  # that compiling failed, say
    try:
        Runtime(device=options.device).torch_device()
    except InputError as error:
        sys.exit(f"error: {error}")
    place = Place(options.device, options.quick)
    if [part for part in options.parts if PARTS[part](place) is False]:
        sys.exit(1)


if __name__ == "__main__":
    main()
