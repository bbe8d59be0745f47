"""A long run in pieces, on machines that may be others each time.

    python scripts/piece.py cifar10-ipc10 --state STATE --seconds 540 --data DATA --device cuda

Runs `datm run` on the recipe with the overrides that follow, for so many seconds, and leaves in
STATE what the next piece needs to go on, in files of at most --part MiB: give the same command
again, with STATE beside it, here or elsewhere. Teachers stay behind, as they are large and follow
from their seeds: a machine without them trains them again first (to the same bits on a like CPU,
to rounding elsewhere). Exits with 0 when the run is complete, 75 when there is more to do, and as
`datm run` does when it fails.
"""

import argparse
import io
import shutil
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

LEFT_BEHIND = ("trajectories", "tensorboard")
MORE_TO_DO = 75
INTERRUPTED = 130
MIB = 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe")
    parser.add_argument("--state", type=Path, required=True, help="folder that travels")
    parser.add_argument("--run", type=Path, help="run folder (default: runs/piece-RECIPE)")
    parser.add_argument("--seconds", type=float, default=540)
    parser.add_argument("--part", type=int, default=15, help="MiB, at most, of a file in --state")
    options, overrides = parser.parse_known_args()
    run = options.run or Path("runs") / f"piece-{options.recipe}"
    if not run.exists():
        unpack(options.state, run)
    code = run_for(options.seconds, [options.recipe, "--out", str(run), *overrides])
    if run.exists():
        pack(run, options.state, options.part * MIB)
    if code not in (0, INTERRUPTED):
        raise SystemExit(code)
    sizes = [path.stat().st_size for path in parts(options.state)]
    state = f"{options.state}: {len(sizes)} files, {sum(sizes) / MIB:.1f} MiB"
    print(f"{state}; {'complete' if code == 0 else 'more to do'}.")
    raise SystemExit(0 if code == 0 else MORE_TO_DO)


def run_for(seconds: float, arguments: list[str]) -> int:
    """`datm run` with these arguments, stopped as by Ctrl-C after `seconds`; its exit code."""
    process = start(arguments)
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        code = process.wait()
        # Python itself is ended by the signal while it still imports.
        return INTERRUPTED if code == -signal.SIGINT else code


def start(arguments: list[str]) -> subprocess.Popen[bytes]:
    """`datm run` as a process that heeds SIGINT, to which a shell's background jobs are deaf."""
    return subprocess.Popen(
        [sys.executable, "-m", "datm", "run", *arguments],
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def parts(state: Path) -> list[Path]:
    return sorted(state.glob("state.tar.*"))


def pack(run: Path, state: Path, most: int) -> None:
    """All of a run folder but what is left behind, as an archive in parts of `most` bytes."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for path in sorted(run.iterdir()):
            if path.name not in LEFT_BEHIND:
                tar.add(path, path.name)
    new = state.with_name(state.name + ".new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    whole = archive.getbuffer()
    for number, first in enumerate(range(0, len(whole), most)):
        (new / f"state.tar.{number:03d}").write_bytes(whole[first : first + most])
    shutil.rmtree(state, ignore_errors=True)
    new.rename(state)


def unpack(state: Path, run: Path) -> None:
    """The run folder that `pack` was given, less what was left behind; nothing without parts."""
    if not (found := parts(state)):
        return
    archive = io.BytesIO(b"".join(path.read_bytes() for path in found))
    with tarfile.open(fileobj=archive) as tar:
        tar.extractall(run, filter="data")


if __name__ == "__main__":
    main()
