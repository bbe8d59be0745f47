"""The evaluation: n fresh networks on the distilled set, and beside it always real images.

- distilled: the papers' protocol, with the learned step size as learning rate.
- initial: the same set before distillation, with its own step size.
- random: as many real images, drawn anew for each network, hard labels; the same epochs. Larger
  random sets (`random_multiples`) show how many real images the distilled ones are worth; theirs
  are as many steps, but at least `full_epochs` passes.
- herding, k-center, dm, dsa: where asked for, as many images chosen or made by other methods (see
  made.py), hard labels; one set for all networks, the same epochs.
- full: all real training images, the validation split included; `full_epochs` passes.
The learning rate of all but distilled and initial is the best of `learning_rates` on the validation
split.

Letters: K classes, n networks.
"""

import hashlib
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from datm.data import DataSet
from datm.errors import InputError
from datm.evaluation.config import EvaluateConfig
from datm.evaluation.made import CHOSEN, SYNTHETIC, Maker
from datm.evaluation.rows import Record, Row, distilled_row, full_row, made_row, random_row
from datm.evaluation.train import Protocol
from datm.evaluation.trainer import Judged, Trainer
from datm.networks import make_network
from datm.runtime.device import Runtime
from datm.runtime.files import read_json, write_json
from datm.runtime.logs import QUIET, Console
from datm.runtime.seeds import derived_seed

if TYPE_CHECKING:
    from datm.distillation import DistilledSet


def evaluate(
    distilled: "DistilledSet",
    data: DataSet,
    models: list[str] | None = None,
    seeds: int | None = None,
    *,
    config: EvaluateConfig | None = None,
    initial: "DistilledSet | None" = None,
    runtime: Runtime | None = None,
    seed: int = 0,
    out: str | os.PathLike[str] | None = None,
    console: Console = QUIET,
) -> list[Record]:
    """Train fresh networks on `distilled` and on real images; test accuracies as records.

    Args:
        models: network specs (default: the config's, else the teachers' network).
        seeds: networks per record (default: the config's).
        initial: the set before distillation, for the baseline of that name.
        out: evaluation.json; networks trained before under the same settings are kept there, and
            a row that is evaluated under other settings now replaces the one that was there.

    Accuracies are fractions of the test split; std is the sample's, over networks; per_class holds
    each class's mean accuracy and, where one class has over half as many test images again as
    another, balanced the mean of those. All images are taken into the distilled set's training
    space. The records are kept in `distilled.records` too. Raises InputError if the set and the
    data do not fit.
    """
    config, runtime = config or EvaluateConfig(), runtime or Runtime()
    count = config.seeds if seeds is None else seeds
    _check(distilled, data, count)
    path = Path(out) if out is not None else None
    known = _known(path)
    data = replace(data, transform=distilled.transform).to(runtime.torch_device())
    specs = models or config.models or [distilled.network]
    shape, classes = data.shape, len(data.classes)
    networks = [make_network(spec, shape, classes, runtime.arithmetic) for spec in specs]
    place = _place(data, runtime, seed)
    records: list[Record] = []

    def save() -> None:
        if path is not None:
            write_json(path, [*records, *_others(known, records)])

    protocol = _protocol(distilled, config)
    maker = Maker(data, distilled, config, protocol, runtime, seed)
    for network in {network.spec: network for network in networks}.values():
        trainer = Trainer(network, data, runtime)
        # An import path does not say what stands there: its size at least must be the same.
        here = f"{place} {network.layout.total}" if ":" in network.spec else place
        for row in _rows(trainer, distilled, initial, maker, count):
            key = row.key(here)
            found = [record for record in known if record.get("key") == key]
            records.append(found[0] if found else row.record(key))
            _fill(row, records[-1], trainer, seed, console, save)
    distilled.records = records
    return records


def _check(distilled: "DistilledSet", data: DataSet, seeds: int) -> None:
    shape = tuple(distilled.images.shape[1:])
    if shape != data.shape or tuple(distilled.classes) != data.classes:
        raise InputError(
            f"data: {data.name} has {len(data.classes)} classes of {data.shape} images, the"
            f" distilled set {len(distilled.classes)} of {shape}; give the data it was made from."
        )
    if not len(data.test):
        raise InputError(f"data: {data.name} has no test images to judge by; give data.test.")
    if seeds < 1:
        raise InputError(f"seeds: {seeds} networks give no accuracy; give 1 or more.")


def _known(path: Path | None) -> list[Record]:
    """The records in evaluation.json. Raises InputError if it holds something else."""
    known = read_json(path) if path is not None and path.exists() else []
    if not isinstance(known, list) or not all(isinstance(record, dict) for record in known):
        raise InputError(f"{path}: is no list of records; remove it or choose another file.")
    return known


def _others(known: list[Record], records: list[Record]) -> list[Record]:
    """Those of the `known` records that say something else than any of `records`."""
    said = [(r["what"], r["model"], r["ipc"]) for r in records]
    return [r for r in known if (r.get("what"), r.get("model"), r.get("ipc")) not in said]


def _place(data: DataSet, runtime: Runtime, seed: int) -> str:
    """What decides every row's accuracies: the data to the bit, the precision and the seed."""
    digest = hashlib.sha256(repr((data.fingerprint, runtime.arithmetic, seed)).encode())
    tensors = [data.validation.images, data.validation.labels, data.test.images, data.test.labels]
    for tensor in [*tensors, *data.transform.tensors().values()]:
        digest.update(tensor.cpu().contiguous().numpy().data)
    return digest.hexdigest()


def _protocol(distilled: "DistilledSet", config: EvaluateConfig) -> Protocol:
    """How networks are trained on the distilled set; the other rows' protocols come from it."""
    augmentation = distilled.augmentation if config.augmentation is None else config.augmentation
    return Protocol(
        learning_rate=distilled.step_size,
        epochs=config.epochs,
        batch=config.batch,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        augmentation=augmentation,
    )


def _rows(
    trainer: Trainer,
    distilled: "DistilledSet",
    initial: "DistilledSet | None",
    maker: Maker,
    networks: int,
) -> list[Row]:
    """What is to be trained on with one network: the distilled set first, the full data last."""
    data, config, protocol, seed = maker.data, maker.config, maker.protocol, maker.seed
    model, ipc, rates = trainer.network.spec, distilled.ipc, config.learning_rates
    rows = [distilled_row("distilled", model, distilled, protocol, networks)]
    if initial is not None and "initial" in config.baselines:
        rows.append(distilled_row("initial", model, initial, protocol, networks))
    if "random" in config.baselines:
        rows.append(random_row(model, data, ipc, protocol, rates, networks, seed))
        for multiple in config.random_multiples:
            if ipc * multiple * len(data.classes) <= len(data.train):
                few = min(networks, config.multiple_seeds)
                epochs = max(config.full_epochs, config.epochs // multiple)
                scaled = replace(protocol, epochs=min(epochs, config.epochs))
                rows.append(random_row(model, data, ipc * multiple, scaled, rates, few, seed))
    sets = {what: maker.chosen(what, trainer) for what in CHOSEN if what in config.baselines}
    more = {what: maker.synthetic(what) for what in SYNTHETIC if what in config.baselines}
    for what, made in (*sets.items(), *more.items()):
        rows.append(made_row(what, model, data, ipc, protocol, rates, networks, made))
    if "full" in config.baselines:
        many = config.full_seeds or networks
        rows.append(full_row(model, data, protocol, config.full_epochs, rates, many))
    return rows


def _fill(
    row: Row,
    record: Record,
    trainer: Trainer,
    seed: int,
    console: Console,
    save: Callable[[], None],
) -> None:
    """Train the networks that the record lacks; before the first, choose the learning rate."""
    done = len(record["accuracies"])
    if done >= row.seeds:
        return
    began = time.monotonic()
    if row.made is not None:
        row.made.make(console)
    title = f"evaluate {row.what}" + (f", {row.ipc} per class" if row.ipc else "")
    console.start(title, row.seeds, done)
    while done < row.seeds:
        if record["protocol"] is None:
            record["protocol"] = _with_rate(row, trainer, seed)
        protocol = row.at(record["protocol"]["learning_rate"])
        numbers = range(done, min(done + trainer.at_once, row.seeds))
        seeds = [derived_seed(seed, "evaluate", row.what, row.ipc or 0, n) for n in numbers]
        # Named nowhere: these sets are gone before those of the next networks are made.
        found = trainer.judged([row.images(n) for n in numbers], trainer.test, protocol, seeds)
        for judged in found:
            _add(record, judged, trainer.test.balanced)
        done = len(record["accuracies"])
        record["seconds"] += time.monotonic() - began
        began = time.monotonic()
        save()
        console.advance(done, accuracy=record["mean"])
    console.finish(f"{100 * record['mean']:.1f} +- {100 * record['std']:.1f}%")


def _add(record: Record, judged: Judged, balanced: bool) -> None:
    """Take the accuracies of one more network into the record.

    One that was begun before classes were judged by themselves goes on without them.
    """
    count, before = len(record["accuracies"]), record.get("per_class")
    if before or not count:
        means = before or [0.0] * len(judged.per_class)
        pairs = zip(means, judged.per_class, strict=True)
        record["per_class"] = [
            None if new is None else old + (new - old) / (count + 1) for old, new in pairs
        ]
        if not balanced:
            present = [mean for mean in record["per_class"] if mean is not None]
            record["balanced"] = statistics.fmean(present)
    accuracies = [*record["accuracies"], judged.accuracy]
    record["accuracies"] = accuracies
    record["mean"] = statistics.fmean(accuracies)
    record["std"] = statistics.stdev(accuracies) if count else 0.0


def _with_rate(row: Row, trainer: Trainer, seed: int) -> Record:
    """The row's protocol with a learning rate: given, or the best of several on validation."""
    rate = row.learning_rates[0]
    tried: dict[str, float] = {}
    if len(row.learning_rates) > 1 and len(trainer.validation):
        own = derived_seed(seed, "select", row.what, row.ipc or 0)
        images = row.selection_images()
        for candidate in row.learning_rates:
            protocol = row.at(candidate)
            [judged] = trainer.judged([images], trainer.validation, protocol, [own])
            by_class = trainer.validates_by_class
            tried[str(candidate)] = judged.mean_of_classes if by_class else judged.accuracy
        rate = max(row.learning_rates, key=lambda candidate: tried[str(candidate)])
    described: Record = {**row.at(rate).describe(row.count), "labels": row.labels}
    if tried:
        described["learning_rates_on_validation"] = tried
    if row.made is not None:
        described["made"] = {**row.made.facts, "seconds": row.made.seconds}
    return described
