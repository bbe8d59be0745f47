"""Peak memory of one matching gradient, by method and number of inner steps N.

    python benchmarks/gradient_memory.py --out benchmarks/results

ConvNet-3 on 32x32 colour images, B = 50, float32, uncompiled, with random data. Every case runs in
a process of its own: its peak resident memory, less what was resident once the library was loaded
and the inputs were made. The allocator is told to give every large block back at once, so that the
figures are of what is alive. A case that would need more than `--limit` is stopped there.
"""

import argparse
import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from speed.machine import result_path

from datm.matching import match_gradient, student_loss
from datm.networks import make_network
from datm.runtime.environment import describe_environment
from datm.runtime.seeds import generator

METHODS = ("exact", "tesla", "unrolled")
STEPS = (1, 10, 40)
SPEC, SHAPE, CLASSES, IMAGES, BATCH = "convnet-3", (3, 32, 32), 10, 100, 50
MIB, GIB = 2**20, 2**30
GIVEN_BACK = 2**17  # bytes from which glibc's malloc maps a block by itself


def main() -> None:
    options = parse()
    if options.case:
        method, steps = options.case
        print(json.dumps(measure(method, int(steps), options.limit, options.threads)))
        return
    found = {
        (method, steps): run_case(method, steps, options)
        for method in METHODS
        for steps in options.steps
    }
    text = table(found, options)
    print(text)
    if options.out:
        path = Path(f"{result_path(options.out, 'gradient_memory', describe_environment(0))}.md")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--steps", type=int, nargs="+", default=STEPS, help="values of N")
    parser.add_argument("--threads", type=int, default=1, help="threads of the arithmetic")
    parser.add_argument(
        "--limit", type=float, default=available() / 2, help="GiB that a case may take"
    )
    parser.add_argument("--out", type=Path, help="folder for the dated table (default: print it)")
    parser.add_argument("--case", nargs=2, help=argparse.SUPPRESS)
    return parser.parse_args()


def available() -> float:
    """GiB of memory that are free for programs now."""
    text = Path("/proc/meminfo").read_text()
    return int(re.findall(r"MemAvailable:\s+(\d+)", text)[0]) * 1024 / GIB


def run_case(method: str, steps: int, options: argparse.Namespace) -> float | None:
    """Peak bytes of one case, measured in a fresh process; None where the limit was met."""
    program = [sys.executable, __file__, "--case", method, str(steps)]
    program += ["--limit", str(options.limit), "--threads", str(options.threads)]
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(GIVEN_BACK)}
    done = subprocess.run(program, check=True, capture_output=True, text=True, env=environment)
    peak: float | None = json.loads(done.stdout)
    shown = "over the limit" if peak is None else f"{peak / MIB:,.0f} MiB"
    print(f"{method}, N = {steps}: {shown}", file=sys.stderr, flush=True)
    return peak


def measure(method: Any, steps: int, limit: float, threads: int) -> float | None:
    """Peak bytes of one matching gradient, above those of the process before it."""
    torch.set_num_threads(threads)
    gradient(method, 1, spec="convnet-1,width=1", shape=(1, 2, 2))()  # loads what is loaded late
    resource.setrlimit(resource.RLIMIT_DATA, (int(limit * GIB),) * 2)
    work = gradient(method, steps, SPEC, SHAPE)
    before = peak_resident()
    try:
        work()
    except RuntimeError as error:
        if "can't allocate memory" in str(error):
            return None
        raise
    return peak_resident() - before


def gradient(method: Any, steps: int, spec: str, shape: tuple[int, int, int]) -> Any:
    """A matching gradient over random images, ready to be called."""
    draw = generator(0, "benchmark")
    network = make_network(spec, shape, CLASSES)
    start = network.initial(draw)
    target = start + 0.01 * torch.randn(start.shape, generator=draw)
    images = torch.randn((IMAGES, *shape), generator=draw)
    logits = torch.randn((IMAGES, CLASSES), generator=draw)
    batches = torch.randint(IMAGES, (steps, BATCH), generator=draw)
    step_size = torch.tensor(0.01)
    loss = student_loss(network)
    return lambda: match_gradient(loss, start, target, images, logits, step_size, batches, method)


def peak_resident() -> float:
    """The most bytes this process has held so far (Linux counts them in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def table(found: dict[tuple[str, int], float | None], options: argparse.Namespace) -> str:
    """The measurements as markdown, with what they were measured on."""
    environment = describe_environment(0)
    steps = options.steps
    vector = make_network(SPEC, SHAPE, CLASSES).layout.total * 4 / MIB

    def cell(peak: float | None) -> str:
        return f"over {options.limit:.0f} GiB" if peak is None else f"{peak / MIB:,.0f} MiB"

    head = ["method", *(f"N = {n}" for n in steps)]
    rows = [[method, *(cell(found[method, n]) for n in steps)] for method in METHODS]
    rows.append(["N parameter vectors alone", *(cell(n * vector * MIB) for n in steps)])
    lines = [
        "# Peak memory of one matching gradient",
        "",
        f"{SPEC}, {SHAPE[1]}x{SHAPE[2]} colour images, B = {BATCH}, float32, uncompiled;"
        " resident memory above that of the process with its inputs, one process for each figure"
        f" (`python benchmarks/gradient_memory.py --steps {' '.join(map(str, steps))}`).",
        "",
        f"{environment['cpu']}, {environment['cores']} cores ({options.threads} used),"
        f" {environment['memory_bytes'] / GIB:.0f} GiB; {environment['platform']};"
        f" Python {environment['versions']['python']},"
        f" torch {environment['versions']['torch']}; {environment['time'][:10]}.",
        "",
        *(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
