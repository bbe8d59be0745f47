"""A whole run: teach, distil, evaluate, report, in one folder; run again, it continues.

Everything is checked before anything is spent (`checks.py`). Stages resume by themselves; here it
is decided which of them run, on what, and what is written beside their results.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from datm import checks
from datm.config import dump_config, load_config
from datm.config.validate import nested
from datm.data import DataSet
from datm.distillation import DistilledSet, distill
from datm.distillation.loop import initial_set
from datm.errors import InputError
from datm.evaluation import evaluate
from datm.reporting import report
from datm.runtime.environment import describe_environment
from datm.runtime.files import atomic_write, read_json, writable_folder, write_json
from datm.runtime.logs import QUIET, Console
from datm.smoke import SUFFIX, smoke_recipe
from datm.teaching import Trajectories, teach

if TYPE_CHECKING:
    from datm.recipes import Recipe

Stage = Literal["teach", "distill", "evaluate", "report"]
Record = dict[str, Any]
Folder = str | os.PathLike[str]

STAGES: tuple[Stage, ...] = ("teach", "distill", "evaluate", "report")


def find_recipe(
    target: str, overrides: Mapping[str, str], method: str | None = None
) -> tuple["Recipe", Path | None]:
    """The recipe that RECIPE means, and the run folder if that is what it names."""
    from datm.recipes import RECIPES

    folder = Path(target)
    if target in RECIPES or not folder.is_dir():
        return load_config(target, overrides, method), None
    if not (folder / "config.yaml").is_file():
        raise InputError(
            f"{target}: is a folder without a config.yaml; give a recipe's name, a YAML file or a "
            "run folder."
        )
    if method is not None:
        raise InputError(
            f"--method: {target} is a run that has its settings; give a recipe to begin another."
        )
    return load_config(folder / "config.yaml", overrides), folder


def default_folder(recipe: "Recipe", smoke: bool) -> Path:
    """runs/<name>. Raises InputError where the name cannot be a folder's."""
    if not re.fullmatch(r"\w[\w.+-]*", recipe.name):
        raise InputError(f"name: {recipe.name!r} cannot name a folder; give --out or another name.")
    return Path("runs") / (recipe.name.removesuffix(SUFFIX) + SUFFIX if smoke else recipe.name)


def run(
    recipe: "Recipe",
    out: Folder,
    *,
    smoke: bool = False,
    console: Console = QUIET,
    trajectories: Folder | None = None,
    distilled: Folder | None = None,
    stages: Sequence[Stage] = STAGES,
) -> list[Record]:
    """Run `stages` of the recipe in the run folder `out`; what is complete is not repeated.

    Args:
        smoke: shrink the recipe and the data (see `smoke.py`); a folder of such a run keeps to the
            few images without being told again.
        trajectories, distilled: folders made elsewhere, used in place of the stages before them;
            the run folder gets a link to them.

    Returns the evaluation's records, or [] where they are not among the stages. Raises InputError,
    with nothing overwritten, where the recipe, the data and what `out` holds do not fit together.
    """
    out, ipc = Path(out), recipe.distill.ipc if "distill" in stages else None
    recipe = replace(recipe, runtime=recipe.runtime.settled())
    if smoke:
        recipe = smoke_recipe(recipe)
    smoke = smoke or checks.is_smoke(out)
    job = _Job(recipe, ipc, out, smoke, console, trajectories, distilled, stages)
    job.start()
    records: list[Record] = []
    if "teach" in stages and not job.adopts_distilled:
        job.teach()
    if "distill" in stages and not job.adopts_distilled:
        job.distill()
    if "evaluate" in stages:
        records = job.evaluate()
    if "report" in stages:
        report(out)
    return records


class _Job:
    """One call of `run`: made, it has checked everything and written nothing."""

    def __init__(
        self,
        recipe: "Recipe",
        ipc: int | None,
        out: Path,
        smoke: bool,
        console: Console,
        trajectories: Folder | None,
        distilled: Folder | None,
        stages: Sequence[Stage],
    ) -> None:
        self.recipe, self.out, self.smoke, self.console = recipe, out, smoke, console
        self.teachers = _adopted(out / "trajectories", trajectories, "--trajectories")
        self.set = _adopted(out / "distilled", distilled, "--distilled")
        self.data: DataSet = checks.checked_data(
            recipe,
            out,
            smoke=smoke,
            adopted=self.teachers is not None,
            ipc=ipc,
            console=console,
        )
        self._check_parts(stages)
        writable_folder(out)

    def _check_parts(self, stages: Sequence[Stage]) -> None:
        """The teachers and the distilled set that no stage will make are there, and they fit."""
        recipe, folder = self.recipe, self.out / "distilled"
        if self.set or ("evaluate" in stages and "distill" not in stages):
            distilled = DistilledSet.load(self.set or folder)
            checks.check_distilled(distilled, recipe, self.data, folder)
        elif self.teachers or ("distill" in stages and "teach" not in stages):
            teachers = Trajectories.open(self.teachers or self.out / "trajectories")
            needed = 1 if self.teachers else recipe.teach.teachers
            checks.check_trajectories(teachers, recipe, self.data, needed)
        elif "distill" in stages:
            checks.check_teaching(recipe)

    @property
    def adopts_distilled(self) -> bool:
        return self.set is not None

    def start(self) -> None:
        """Write what describes the run, and link to what was made elsewhere."""
        for place, source in (("trajectories", self.teachers), ("distilled", self.set)):
            if source is not None and not (self.out / place).exists():
                target = os.path.relpath(source.resolve(), self.out.resolve())
                (self.out / place).symlink_to(target, target_is_directory=True)
        atomic_write(self.out / "config.yaml", dump_config(self.recipe))
        path = self.out / "environment.json"
        _record_environment(path, {**describe_environment(self.recipe.seed), "smoke": self.smoke})

    def teach(self) -> None:
        """Train the teachers that are missing, unless they were made elsewhere."""
        if self.teachers:
            count = len(Trajectories.open(self.teachers))
            self.console.say(f"teach: {count} teachers from {self.teachers}")
            return
        folder = self.out / "trajectories"
        recipe = self.recipe
        found = Trajectories.open(folder) if (folder / "manifest.json").is_file() else None
        complete = found is not None and len(found) >= recipe.teach.teachers
        trained = teach(
            self.data,
            recipe.teach,
            out=folder,
            runtime=recipe.runtime,
            seed=recipe.seed,
            console=self.console,
        )
        if complete:
            self.console.say(f"teach: complete ({len(trained)} teachers)")

    def distill(self) -> None:
        """Distil, unless the iterations asked for are done."""
        recipe = self.recipe
        meta = self.out / "distilled" / "distilled.json"
        done = read_json(meta)["iterations"] if meta.is_file() else -1
        if done >= recipe.distill.iterations:
            self.console.say(f"distil: complete ({done} iterations)")
            return
        teachers = Trajectories.open(self.teachers or self.out / "trajectories")
        distilled = distill(
            self.data,
            teachers,
            recipe.distill,
            out=self.out,
            runtime=recipe.runtime,
            seed=recipe.seed,
            console=self.console,
        )
        distilled.meta["recipe"] = nested(recipe)
        distilled.save(self.out / "distilled")

    def evaluate(self) -> list[Record]:
        """Evaluate what is not evaluated yet, and put the figures on the distilled set's card."""
        folder, path = self.out / "distilled", self.out / "evaluation.json"
        recipe = self.recipe
        distilled = DistilledSet.load(folder)
        before = read_json(path) if path.is_file() else []
        records = evaluate(
            distilled,
            self.data,
            config=recipe.evaluate,
            initial=initial_set(distilled, folder),
            runtime=recipe.runtime,
            seed=recipe.seed,
            out=path,
            console=self.console,
        )
        if all(record in before for record in records):
            self.console.say(f"evaluate: complete ({len(records)} records)")
        merged = _merged(before, records)
        if merged != before:
            write_json(path, merged)
        if not self.adopts_distilled and distilled.meta["records"] != merged:
            distilled.records = merged
            distilled.save(folder)
        return merged


def _adopted(place: Path, given: Folder | None, option: str) -> Path | None:
    """The folder made elsewhere that stands at `place`: given now, or linked by an earlier run."""
    if given is None:
        return place.resolve() if place.is_symlink() else None
    source = Path(given)
    if not source.is_dir():
        raise InputError(f"{option}: {source} is no folder; check the path.")
    if place.exists() or place.is_symlink():
        if place.resolve() != source.resolve():
            raise InputError(
                f"{place}: is there already, and is not {source}; leave out {option} or choose "
                "another --out."
            )
        return source if place.is_symlink() else None
    return source


def _merged(before: list[Record], now: list[Record]) -> list[Record]:
    """The records now, and those from before that say something else than any of them."""
    said = {(record["what"], record["model"], record["ipc"]) for record in now}
    others = [r for r in before if (r["what"], r["model"], r["ipc"]) not in said]
    return [*now, *others]


def _record_environment(path: Path, now: dict[str, Any]) -> None:
    """Write where the run began; where it was continued elsewhere, that too."""
    if not path.is_file():
        write_json(path, now)
        return
    record = read_json(path)
    passing = ("time", "command", "threads")

    def lasting(environment: dict[str, Any]) -> dict[str, Any]:
        return {key: environment.get(key) for key in now if key not in passing}

    continued = record.get("continued", [])
    if all(lasting(known) != lasting(now) for known in (record, *continued)):
        write_json(path, {**record, "continued": [*continued, now]})
