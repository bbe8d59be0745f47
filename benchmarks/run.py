"""Speed and memory of matching, teaching and evaluating, beside the published methods.

    python benchmarks/run.py                        all cases on the CPU
    python benchmarks/run.py --device cuda
    python benchmarks/run.py --cases 'match/*B100*'  some of them, by name
    python benchmarks/run.py --list

Every case runs in a process of its own. Its figures are appended to a JSON-lines file as it ends,
and the tables are written anew from that file: a run that was cut short goes on when it is given
the same output. `benchmarks/README.md` says what the columns mean.
"""

import argparse
import fnmatch
import json
import resource
import shlex
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from speed.cases import Case, grid, reason_to_skip
from speed.machine import describe, free_memory, hardware, result_path
from speed.measure import Clock, measure
from speed.records import Records
from speed.tables import render

from datm.errors import InputError
from datm.runtime.allocator import keep_freed_memory, use_huge_pages
from datm.runtime.device import Runtime, computes_bfloat16

SHARE_OF_MEMORY = 0.92
"""Of what is free at the start: the most that a case may take."""


def main() -> None:
    options = parse()
    if options.quick:
        options.threads, options.repeats = 1, min(options.repeats, 2)
    torch.set_num_threads(options.threads)
    if options.case:
        run_here(Case(**json.loads(options.case)), options)
        return
    cases = [
        case
        for case in grid(options.device, options.quick)
        if any(fnmatch.fnmatchcase(case.name, pattern) for pattern in options.cases)
    ]
    if options.list:
        print("\n".join(case.name for case in cases))
        return
    try:
        run_all(cases, options)
    except InputError as error:
        sys.exit(f"error: {error}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--cases", nargs="+", default=["*"], help="names, with * as in file names")
    parser.add_argument("--list", action="store_true", help="print the names of the cases and stop")
    parser.add_argument(
        "--quick", action="store_true", help="toy sizes on one thread: tries the benchmark itself"
    )
    parser.add_argument("--repeats", type=int, default=5, help="most repeats of a case")
    parser.add_argument("--seconds", type=float, default=15, help="after these, no more repeats")
    parser.add_argument("--limit", type=float, default=100, help="skip what takes longer once, s")
    parser.add_argument("--timeout", type=float, default=600, help="stop a case after these, s")
    parser.add_argument(
        "--warm", type=int, default=0, metavar="N", help="first compile what is needed, N at once"
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--out",
        type=Path,
        default=Path(__file__).parent / "results",
        help="folder for the results, or a .jsonl file to go on with (beside it: the .md)",
    )
    parser.add_argument("--case", help=argparse.SUPPRESS)  # with --memory: measure this one here
    parser.add_argument("--memory", type=float, help=argparse.SUPPRESS)
    return parser.parse_args()


def run_all(cases: list[Case], options: argparse.Namespace) -> None:
    """Every case that the output does not have yet; the tables after each of them."""
    device = Runtime(device=options.device).torch_device()  # an InputError where there is none
    environment = describe(options.device, options.quick)
    path = options.out
    if path.suffix != ".jsonl":
        kind = "matching_speed_quick" if options.quick else "matching_speed"
        path = Path(f"{result_path(path, kind, environment)}.jsonl")
    settings = {name: getattr(options, name) for name in ("repeats", "seconds", "limit")}
    command = shlex.join(["python", "benchmarks/run.py", *sys.argv[1:]])
    records = Records(path, {"environment": environment, "command": command, **settings})
    memory = SHARE_OF_MEMORY * free_memory(options.device)
    print(f"{hardware(environment)}: {len(cases)} cases, to {path}", flush=True)
    if options.warm:
        warm([case for case in cases if not records.measured(case.name)], options, memory)
    for number, case in enumerate(cases, start=1):
        if records.measured(case.name):
            continue
        began = time.monotonic()
        reason = reason_to_skip(
            case, records.by_name, memory, options.limit, computes_bfloat16(device)
        )
        record = {"skipped": reason} if reason else run_apart(case, options, memory)
        records.append({"name": case.name, "case": asdict(case), **record})
        path.with_suffix(".md").write_text(render(records.header, records.by_name))
        took = time.monotonic() - began
        print(f"{number}/{len(cases)} {case.name}: {shown(record)} ({took:.0f} s)", flush=True)
    print(f"tables: {path.with_suffix('.md')}")


def warm(cases: list[Case], options: argparse.Namespace, memory: float) -> None:
    """Compile what the cases need, several at once, into the compiler's cache; times are lost."""
    # A whole iteration and a single gradient take the same functions, whatever their steps.
    once = {
        (case.how, case.precision, case.batch, case.classes): case
        for case in cases
        if case.how in ("ours", "ours-exact", "ours-tesla")
    }
    brief = argparse.Namespace(**{**vars(options), "repeats": 1, "seconds": 0.0})
    with ThreadPoolExecutor(options.warm) as pool:
        records = pool.map(lambda case: run_apart(case, brief, memory), once.values())
        for case, record in zip(once.values(), records, strict=True):
            print(f"compiled for {case.name}: {shown(record)}", flush=True)


def shown(record: dict[str, Any]) -> str:
    if "seconds_per_step" in record:
        return f"{1000 * record['seconds_per_step']:.1f} ms per step"
    problem = record.get("skipped") or record.get("failed")
    return str(problem) if problem else "done"


def run_apart(case: Case, options: argparse.Namespace, memory: float) -> dict[str, Any]:
    """The record of a case, measured in a process of its own; "failed" says what went wrong."""
    program = [sys.executable, __file__, "--case", json.dumps(asdict(case))]
    for name in ("device", "repeats", "seconds", "threads"):
        program += [f"--{name}", str(getattr(options, name))]
    try:
        done = subprocess.run(
            [*program, "--memory", str(memory)],
            capture_output=True,
            text=True,
            timeout=options.timeout,
        )
    except subprocess.TimeoutExpired:
        return {"failed": f"did not end within {options.timeout:.0f} s"}
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return {"failed": f"ended with {done.returncode}: {last}"}
    record: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return record


def run_here(case: Case, options: argparse.Namespace) -> None:
    """Measure one case in this process, which was started for it; print its record."""
    if options.device == "cpu":
        # Where memory runs out there is to be an error, not a machine that kills processes.
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        resource.setrlimit(resource.RLIMIT_DATA, (int(options.memory), hard))
    kept = case.allocator == "kept" and keep_freed_memory()
    if case.allocator == "kept":
        use_huge_pages()
    clock = Clock(options.device, options.repeats, options.seconds)
    print(json.dumps({**measure(case, clock), "keeps_freed_memory": kept}))


if __name__ == "__main__":
    main()
