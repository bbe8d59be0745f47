"""What an ingredient is worth: final accuracies by the same data, seeds and budget.

    python benchmarks/accuracy.py precision digits --out runs/accuracy --seeds 3
    python benchmarks/accuracy.py methods digits --out runs/methods --baselines
    python benchmarks/accuracy.py windows digits --out runs/windows --ipc 50
    python benchmarks/accuracy.py ingredients digits --out runs/ingredients

Each variant of the comparison distils RECIPE once for each seed, and fresh networks are trained on
the result by the same protocol, in float32: only what the variant names differs. Teachers are
trained once, with seed 0, for all variants and seeds that want the same ones. `--baselines` adds
sets of real images and simpler distillations, as many images, made once for each seed. The
recipe's own overrides follow as on datm's command line (`--distill.iterations 200`). A run that
stopped continues; a finished one is read. Ends in a markdown table: every seed's mean accuracy in
%, then the mean and the standard deviation over all networks of all seeds.
"""

import argparse
import hashlib
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from comparisons import METHODS, PRECISION, TAIL, Comparison, Variant, ingredients, windows

from datm.config import load_config
from datm.data import load
from datm.distillation import DistilledSet
from datm.evaluation import evaluate
from datm.pipeline import run
from datm.recipes import Recipe
from datm.runtime.logs import make_console

BASELINES = ("random", "herding", "k-center", "dm", "dsa", "full")

FIXED = {"precision": PRECISION, "methods": METHODS, "tail": TAIL}
DERIVED = {"windows": windows, "ingredients": ingredients}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("comparison", choices=[*FIXED, *DERIVED])
    parser.add_argument("recipe")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--trajectories", type=Path, help="teachers made elsewhere, for all")
    parser.add_argument("--variants", nargs="*", help="only those, by name")
    parser.add_argument("--baselines", nargs="*", choices=BASELINES, help="default: all")
    options, rest = parser.parse_known_args()
    bench = Bench(options.recipe, pairs(rest), options.out, options.trajectories)
    variants = bench.comparison(options.comparison)
    names = list(variants) if options.variants is None else options.variants
    if unknown := sorted(set(names) - set(variants)):
        raise SystemExit(f"--variants: {unknown[0]!r} is none of {', '.join(variants)}.")
    rows: dict[str, list[list[float]]] = {}
    for seed in range(options.seeds):
        for name in names:
            out = bench.distil(name, variants[name], seed)
            rows.setdefault(name, []).append(bench.accuracies(out, seed))
            print(table(rows), flush=True)
    if options.baselines is not None:
        wanted = options.baselines or BASELINES
        for seed in range(options.seeds):
            out = bench.folder(names[0], seed)
            for name, found in bench.baselines(out, wanted, seed).items():
                rows.setdefault(name, []).append(found)
    print(table(rows))


@dataclass(frozen=True)
class Bench:
    """One recipe with its overrides, and the folder that everything goes to."""

    recipe: str
    overrides: dict[str, str]
    out: Path
    trajectories: Path | None = None

    def comparison(self, name: str) -> Comparison:
        if name in FIXED:
            return FIXED[name]
        return DERIVED[name](load_config(self.recipe, self.overrides))

    def folder(self, name: str, seed: int) -> Path:
        words = re.findall("[a-z0-9]+", name.lower())
        return self.out / "-".join([*words, str(seed)])

    def distil(self, name: str, variant: Variant, seed: int) -> Path:
        """The run folder of a variant's distillation."""
        given = {**self.overrides, **variant.overrides, "seed": str(seed)}
        recipe = load_config(self.recipe, given, variant.method)
        teachers, out = self._teachers(recipe), self.folder(name, seed)
        with make_console() as console:
            run(recipe, out, console=console, trajectories=teachers, stages=["distill"])
        return out

    def _teachers(self, recipe: Recipe) -> Path:
        """The teachers that `recipe` wants, trained with seed 0 and once only."""
        if self.trajectories is not None:
            return self.trajectories
        digest = hashlib.sha256(repr((recipe.data, recipe.teach, recipe.runtime)).encode())
        folder = self.out / f"teachers-{digest.hexdigest()[:8]}"
        with make_console() as console:
            run(replace(recipe, seed=0), folder, console=console, stages=["teach"])
        return folder / "trajectories"

    def accuracies(self, out: Path, seed: int) -> list[float]:
        """Accuracies, as fractions, of networks trained on the set that was distilled."""
        return self._evaluated(out, (), seed)["distilled"]

    def baselines(self, out: Path, wanted: Sequence[str], seed: int) -> dict[str, list[float]]:
        """The same of the sets to compare with."""
        found = self._evaluated(out, wanted, seed)
        return {name: found[name] for name in wanted}

    def _evaluated(self, out: Path, wanted: Sequence[str], seed: int) -> dict[str, list[float]]:
        given = {**self.overrides, "evaluate.baselines": f"[{', '.join(wanted)}]"}
        given |= {"evaluate.random_multiples": "[]", "precision": "float32"}
        recipe = load_config(self.recipe, given)
        with make_console() as console:
            records = evaluate(
                DistilledSet.load(out / "distilled"),
                load(recipe.data),
                config=recipe.evaluate,
                runtime=recipe.runtime,
                seed=seed,
                out=out / "evaluation.json",
                console=console,
            )
        return {record["what"]: list(record["accuracies"]) for record in records}


def pairs(words: list[str]) -> dict[str, str]:
    """["--a.b", "1", ...] as {"a.b": "1", ...}."""
    if len(words) % 2 or not all(word.startswith("--") for word in words[::2]):
        raise SystemExit(f"overrides: {' '.join(words)!r} is no list of --field value.")
    return {
        word.removeprefix("--"): value for word, value in zip(words[::2], words[1::2], strict=True)
    }


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
