"""What precision and gradient are worth: final accuracies on the same teachers, seeds and budget.

    python benchmarks/accuracy.py digits --out runs/accuracy --seeds 3

Each variant distils RECIPE for each seed from the same teachers and trains fresh networks on the
result by the same protocol, in float32: only the distillation differs. The recipe's own overrides
follow as on datm's command line (`--distill.iterations 200`). A run that stopped continues; a
finished one is read. Ends in a markdown table: every seed's mean accuracy in %, then the mean and
the standard deviation over all networks of all seeds.
"""

import argparse
import statistics
from dataclasses import replace
from pathlib import Path

from datm.config import load_config
from datm.data import load
from datm.distillation import DistilledSet
from datm.evaluation import evaluate
from datm.pipeline import run
from datm.runtime.logs import make_console

VARIANTS: dict[str, dict[str, str]] = {
    "exact, float32": {"match.gradient": "exact", "precision": "float32"},
    "exact, bfloat16": {"match.gradient": "exact", "precision": "bfloat16"},
    "TESLA, float32": {"match.gradient": "tesla", "precision": "float32"},
    "TESLA, bfloat16": {"match.gradient": "tesla", "precision": "bfloat16"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--trajectories", type=Path, help="teachers made elsewhere")
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS), choices=list(VARIANTS))
    options, rest = parser.parse_known_args()
    overrides = pairs(rest)
    teachers = options.trajectories or teach(options.recipe, overrides, options.out)
    rows: dict[str, list[list[float]]] = {name: [] for name in options.variants}
    for seed in range(options.seeds):
        for name in options.variants:
            out = options.out / f"{name.replace(', ', '-').lower()}-{seed}"
            rows[name].append(accuracies(options.recipe, overrides, name, seed, teachers, out))
            print(table(rows), flush=True)


def pairs(words: list[str]) -> dict[str, str]:
    """["--a.b", "1", ...] as {"a.b": "1", ...}."""
    if len(words) % 2 or not all(word.startswith("--") for word in words[::2]):
        raise SystemExit(f"overrides: {' '.join(words)!r} is no list of --field value.")
    return {
        word.removeprefix("--"): value for word, value in zip(words[::2], words[1::2], strict=True)
    }


def teach(recipe: str, overrides: dict[str, str], out: Path) -> Path:
    """The teachers of all variants and seeds."""
    with make_console() as console:
        run(load_config(recipe, overrides), out / "teachers", console=console, stages=["teach"])
    return out / "teachers" / "trajectories"


def accuracies(
    recipe: str, overrides: dict[str, str], name: str, seed: int, teachers: Path, out: Path
) -> list[float]:
    """Accuracies, as fractions, of networks trained on the set that the variant distils."""
    given = {**overrides, "seed": str(seed), "evaluate.baselines": "[]"}
    with make_console() as console:
        variant = load_config(recipe, {**given, **VARIANTS[name]})
        run(variant, out, console=console, trajectories=teachers, stages=["distill"])
        [record] = evaluate(
            DistilledSet.load(out / "distilled"),
            load(variant.data),
            config=variant.evaluate,
            runtime=replace(variant.runtime, precision="float32"),
            seed=seed,
            out=out / "evaluation.json",
            console=console,
        )
    return list(record["accuracies"])


def table(rows: dict[str, list[list[float]]]) -> str:
    """Markdown, one row per variant, in %."""
    lines = ["| distilled with | each seed | mean | std | networks |", "|---|---|---|---|---|"]
    for name, seeds in rows.items():
        every = [100 * accuracy for seed in seeds for accuracy in seed]
        if len(every) > 1:
            each = ", ".join(f"{100 * statistics.fmean(seed):.1f}" for seed in seeds)
            mean, std = statistics.fmean(every), statistics.stdev(every)
            lines.append(f"| {name} | {each} | {mean:.1f} | {std:.1f} | {len(every)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
