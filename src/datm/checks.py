"""What is looked at before a run spends anything: do its parts fit, and may the folder be used?

Every check raises InputError with one sentence and changes nothing.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from datm.config import Field, differences, load_config
from datm.config.validate import shown
from datm.data import DataSet, load
from datm.distillation.initial import check_ipc, earlier_set
from datm.distillation.segments import check_flip
from datm.errors import InputError
from datm.evaluation.made import CHOSEN
from datm.formation import check_formation
from datm.matching import last_epoch, make_distance
from datm.networks import Network, make_network
from datm.runtime.files import read_json
from datm.runtime.logs import Console
from datm.smoke import smoke_data
from datm.teaching import Trajectories
from datm.teaching.train import check_classifier

if TYPE_CHECKING:
    from datm.distillation import DistilledSet
    from datm.recipes import Recipe

RESULTS = (
    "trajectories",
    "distilled",
    "checkpoint",
    "metrics.jsonl",
    "evaluation.json",
    "report.html",
)
# what changes no result, only how and how fast it is reached
FREE = ("name", "device", "compile", "distill.checkpoint_every", "distill.log_every")
ORDER = ("teach", "distill", "evaluate")


def check_settings(recipe: "Recipe", out: Path, adopted: bool) -> None:
    """`out` is new, or holds a run whose begun stages had these settings.

    `adopted` says that its teachers were made elsewhere, so their settings are not this recipe's.
    """
    config = out / "config.yaml"
    if not config.is_file():
        found = next((name for name in RESULTS if (out / name).exists()), None)
        if found:
            remedy = f"give --{found} {out / found} and " if found in RESULTS[:2] else ""
            raise InputError(
                f"{out}: holds {found} but no config.yaml, so its settings are not known; "
                f"{remedy}choose another --out."
            )
        return
    there = load_config(config)
    begun = [stage for stage in ORDER if _begun(out, stage)]
    wrong = [
        f"{field.name} {shown(old)} there, {shown(new)} now"
        for field, old, new in differences(there, recipe)
        if _fixed(field, begun, adopted)
        and not (recipe.distill.extends and _extends(field, old, new))
    ]
    if wrong:
        more = f" and {len(wrong) - 4} more" if len(wrong) > 4 else ""
        raise InputError(
            f"{out}: holds a run with other settings ({'; '.join(wrong[:4])}{more}); "
            "give the same settings or another --out."
        )


def checked_data(
    recipe: "Recipe", out: Path, *, smoke: bool, adopted: bool, ipc: int | None, console: Console
) -> DataSet:
    """The recipe's data, once all is looked at that needs no teachers: folder, device, networks.

    With `smoke`, or in a folder of such a run, few of its images. `adopted`: see `check_settings`.
    `ipc`: there must be so many images of a class to begin with.
    """
    check_settings(recipe, out, adopted)
    recipe.runtime.torch_device()
    data = load(recipe.data)
    for note in data.notes:
        console.say(f"data: {note}")
    check_networks(recipe, data)
    if ipc is not None:
        check_ipc(data, ipc, recipe.distill.formation)
        check_formation(recipe.distill.formation, data.shape)
    if smoke or is_smoke(out):
        data = smoke_data(data, recipe.distill.formed)
    if ipc is not None:
        earlier_set(data, recipe.distill)
    return data


def is_smoke(out: Path) -> bool:
    """Whether `out` holds a run that was made with smoke."""
    path = out / "environment.json"
    return path.is_file() and bool(read_json(path).get("smoke"))


def check_networks(recipe: "Recipe", data: DataSet) -> None:
    """The networks exist, take the data's images, and have what the settings ask of them."""
    shape, classes, precision = data.shape, len(data.classes), recipe.runtime.arithmetic
    network = make_network(recipe.teach.network, shape, classes, precision)
    check_classifier(network, recipe.teach)
    make_distance(recipe.distill.match, network.layout)
    check_models(recipe, data, recipe.teach.network)


def check_models(recipe: "Recipe", data: DataSet, maker: str) -> None:
    """The networks that a set made with the network `maker` is evaluated by fit as well."""
    shape, classes, precision = data.shape, len(data.classes), recipe.runtime.arithmetic
    baselines = recipe.evaluate.baselines
    if "dm" in baselines:
        _check_features("dm", make_network(maker, shape, classes, precision))
    for model in recipe.evaluate.models or (maker,):
        try:
            made = make_network(model, shape, classes, precision)
        except InputError as error:
            text = str(error).removeprefix("network: ")
            raise InputError(f"evaluate.models: {text}") from error
        for what in CHOSEN:
            if what in baselines:
                _check_features(what, made)


def _check_features(what: str, network: Network) -> None:
    """`network` has the features that the baseline `what` takes (see evaluation/made.py)."""
    if not network.layout.classifier:
        raise InputError(
            f"evaluate.baselines: {what} compares what the last linear layer is given, and"
            f" {network.spec} has none at its end; leave {what} out or give another network."
        )


def check_teaching(recipe: "Recipe") -> None:
    """The teachers that the recipe will train allow the segments that it matches."""
    check_window(recipe, recipe.teach.epochs, "teach.epochs is")
    check_flip(recipe.distill.match, recipe.teach.augmentation)


def check_window(recipe: "Recipe", epochs: int, where: str) -> None:
    """Teachers of `epochs` epochs hold every segment that may be drawn."""
    match = recipe.distill.match
    last = last_epoch(match)
    if last > epochs:
        raise InputError(
            f"match.last_upper: {match.last_upper} asks for segments up to epoch {last}, but "
            f"{where} {epochs}; lower match.last_upper or train for longer."
        )


def check_trajectories(
    trajectories: Trajectories, recipe: "Recipe", data: DataSet, needed: int
) -> None:
    """Teachers made before: of this network, on these data, `needed` finished, long enough."""
    made = make_network(recipe.teach.network, data.shape, len(data.classes))
    path, network, there = trajectories.path, made.spec, trajectories.manifest["parameters"]
    if trajectories.network != network:
        raise InputError(
            f"{path}: its teachers are {trajectories.network}, this recipe's network is {network}; "
            f"give --network {trajectories.network} or other trajectories."
        )
    if there != made.layout.total:
        raise InputError(
            f"{path}: its teachers have {there} parameters, {network} now has {made.layout.total};"
            " give the module as it was or other trajectories."
        )
    data.check_same(trajectories.manifest["data"], f"{path}: its teachers were trained on")
    if len(trajectories) < needed:
        raise InputError(
            f"{path}: {len(trajectories)} of {needed} teachers are finished; run `datm teach` to "
            "the end first."
        )
    check_window(recipe, trajectories.epochs, f"the teachers in {path} have")
    check_flip(recipe.distill.match, trajectories.augmentation)


def check_distilled(distilled: "DistilledSet", recipe: "Recipe", data: DataSet, path: Path) -> None:
    """A distilled set made before: of these data in this space, for what it is evaluated by."""
    data.check_same(distilled.meta.get("data", {}), f"{path}: was distilled from")
    check_models(recipe, data, distilled.network)


def _begun(out: Path, stage: str) -> bool:
    """Whether a stage has left anything in the run folder that other settings would contradict."""
    if stage == "teach":
        return (out / "trajectories" / "manifest.json").is_file()
    if stage == "distill":
        return any((out / name).exists() for name in ("checkpoint", "distilled"))
    return False  # evaluation is redone where its settings change


def _fixed(field: Field, begun: list[str], adopted: bool) -> bool:
    """Whether a field may no longer change, as a stage that it decides has begun."""
    if field.name in FREE:
        return False
    if field.name == "teach.teachers":  # more teachers can join until they are used
        return "distill" in begun
    stage = field.path[0] if field.path[0] in ORDER else "teach"
    if adopted and field.path[0] == "teach" and field.name != "network":
        return False
    return any(ORDER.index(other) >= ORDER.index(stage) for other in begun)


def _extends(field: Field, old: Any, new: Any) -> bool:
    """Whether the change only makes a stage go on for longer."""
    return field.name == "distill.iterations" and new > old
