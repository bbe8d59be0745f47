"""The evaluation: n fresh networks on the distilled set, and beside it always real images.

- distilled: the papers' protocol, with the learned step size as learning rate.
- initial: the same set before distillation, with its own step size.
- random: as many real images, drawn anew for each network, hard labels; the same epochs. Larger
  random sets (`random_multiples`) show how many real images the distilled ones are worth; theirs
  are as many steps, but at least `full_epochs` passes.
- full: all real training images, the validation split included; `full_epochs` passes.
The learning rate of random and full is the best of `learning_rates` on the validation split.

Letters: K classes, n networks.
"""

import os
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field
from torch import Tensor

from datm.augment import parse_strategy
from datm.data import DataSet
from datm.errors import InputError
from datm.evaluation.rows import Record, Row, distilled_row, full_row, random_row
from datm.evaluation.train import Protocol, train_network
from datm.matching import Student, student_loss
from datm.networks import Predictor, make_network
from datm.runtime.device import Runtime
from datm.runtime.files import read_json, write_json
from datm.runtime.logs import QUIET, Console
from datm.runtime.seeds import derived_seed
from datm.runtime.settings import settings

if TYPE_CHECKING:
    from datm.distillation import DistilledSet

Baseline = Literal["initial", "random", "full"]


@settings
class EvaluateConfig:
    """How sets of images are evaluated."""

    models: tuple[str, ...] = Field(
        default=(), description="networks to train, such as convnet-3; default: the teachers'"
    )
    seeds: int = Field(default=5, gt=0, description="n, fresh networks per row")
    epochs: int = Field(default=1000, gt=0, description="passes over the distilled images")
    batch: int = Field(default=256, gt=0, description="images per step (at most all)")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="of SGD")
    weight_decay: float = Field(default=5e-4, ge=0, description="of SGD")
    augmentation: str | None = Field(default=None, description="default: the teachers'")
    baselines: tuple[Baseline, ...] = Field(
        default=("initial", "random", "full"), description="what to train on beside it"
    )
    learning_rates: tuple[float, ...] = Field(
        default=(0.01, 0.03, 0.1),
        min_length=1,
        description="for real images: the best on the validation split is taken",
    )
    full_epochs: int = Field(default=100, gt=0, description="passes over all real data")
    full_seeds: int | None = Field(
        default=None, gt=0, description="networks on all real data; default: seeds"
    )
    random_multiples: tuple[int, ...] = Field(
        default=(), description="also random real sets this many times as large"
    )
    multiple_seeds: int = Field(default=2, gt=0, description="networks for each of those")

    def __post_init__(self) -> None:
        parse_strategy(self.augmentation or "none")
        if any(rate <= 0 for rate in self.learning_rates):
            raise InputError("evaluate.learning_rates: holds a rate that is not positive.")
        if any(multiple < 2 for multiple in self.random_multiples):
            raise InputError("evaluate.random_multiples: holds a number below 2; give 2 or more.")


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
        out: evaluation.json; what is finished there under the same settings is kept.

    Accuracies are fractions of the test split; std is the sample's, over networks. The records are
    kept in `distilled.records` too. Raises InputError if the set and the data do not fit.
    """
    config = config or EvaluateConfig()
    _check(distilled, data)
    path = Path(out) if out is not None else None
    known: list[Record] = read_json(path) if path is not None and path.exists() else []
    data = data.to((runtime or Runtime()).torch_device())
    specs = models or list(config.models) or [distilled.network]
    trainers = [_Trainer(spec, data, runtime or Runtime()) for spec in specs]
    records: list[Record] = []
    for trainer in trainers:
        for row in _rows(trainer.network.spec, distilled, initial, data, config, seeds):
            found = [record for record in known if record["key"] == row.key(seed)]
            record = found[0] if found else row.record(seed)
            records.append(record)
            rest = [other for other in known if other["key"] != record["key"]]
            while len(record["accuracies"]) < row.seeds:
                _train_one(row, record, trainer, seed, console)
                if path is not None:
                    write_json(path, [*rest, *(r for r in records if r not in rest)])
    distilled.records = records
    return records


def _check(distilled: "DistilledSet", data: DataSet) -> None:
    shape = tuple(distilled.images.shape[1:])
    if shape != data.shape or tuple(distilled.classes) != data.classes:
        raise InputError(
            f"data: {data.name} has {len(data.classes)} classes of {data.shape} images, the"
            f" distilled set {len(distilled.classes)} of {shape}; give the data it was made from."
        )


def _rows(
    model: str,
    distilled: "DistilledSet",
    initial: "DistilledSet | None",
    data: DataSet,
    config: EvaluateConfig,
    seeds: int | None,
) -> list[Row]:
    """What is to be trained on with one network: the distilled set first, the full data last."""
    augmentation = distilled.augmentation if config.augmentation is None else config.augmentation
    protocol = Protocol(
        learning_rate=distilled.step_size,
        epochs=config.epochs,
        batch=config.batch,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        augmentation=augmentation,
    )
    networks = seeds or config.seeds
    rows = [distilled_row("distilled", model, distilled, protocol, networks)]
    if initial is not None and "initial" in config.baselines:
        rows.append(distilled_row("initial", model, initial, protocol, networks))
    rates = config.learning_rates
    if "random" in config.baselines:
        rows.append(random_row(model, data, distilled.ipc, protocol, rates, networks))
        for multiple in config.random_multiples:
            ipc = distilled.ipc * multiple
            count = ipc * len(data.classes)
            if count <= len(data.train):
                few = min(networks, config.multiple_seeds)
                epochs = max(config.full_epochs, config.epochs // multiple)
                scaled = replace(protocol, epochs=min(epochs, config.epochs))
                rows.append(random_row(model, data, ipc, scaled, rates, few))
    if "full" in config.baselines:
        many = config.full_seeds or networks
        rows.append(full_row(model, data, protocol, config.full_epochs, rates, many))
    return rows


class _Trainer:
    """One network with its compiled functions, and the splits to judge it on."""

    def __init__(self, spec: str, data: DataSet, runtime: Runtime) -> None:
        self.network = make_network(spec, data.shape, len(data.classes), runtime.precision)
        self.student = Student(student_loss(self.network), runtime.compile)
        self.predictor = Predictor(self.network, runtime.compile)
        self.test = data.transform(data.test.images), data.test.labels
        self.validation = data.transform(data.validation.images), data.validation.labels

    def accuracy(
        self,
        trained_on: tuple[Tensor, Tensor],
        judged_on: tuple[Tensor, Tensor],
        protocol: Protocol,
        seed: int,
    ) -> float:
        """Accuracy on (images, class numbers) of a network trained on (images, label logits)."""
        images, logits = trained_on
        params = train_network(self.network, self.student, images, logits, protocol, seed)
        return self.predictor.accuracy(params, *judged_on, reference=images)


def _train_one(row: Row, record: Record, trainer: _Trainer, seed: int, console: Console) -> None:
    """Add one network's accuracy to the record; before the first, choose the learning rate."""
    began = time.monotonic()
    number = len(record["accuracies"])
    title = f"evaluate {row.what}" + (f", {row.ipc} per class" if row.ipc else "")
    if number == 0:
        console.start(title, row.seeds)
        record["protocol"] = _with_rate(row, trainer, seed)
    protocol = row.at(record["protocol"]["learning_rate"])
    own = derived_seed(seed, "evaluate", row.what, row.ipc or 0, number)
    accuracy = trainer.accuracy(row.images(number), trainer.test, protocol, own)
    accuracies = [*record["accuracies"], accuracy]
    record["accuracies"] = accuracies
    record["mean"] = statistics.fmean(accuracies)
    record["std"] = statistics.stdev(accuracies) if len(accuracies) > 1 else 0.0
    record["seconds"] += time.monotonic() - began
    console.advance(len(accuracies), accuracy=record["mean"])
    if len(accuracies) == row.seeds:
        console.finish(f"{100 * record['mean']:.1f} +- {100 * record['std']:.1f}%")


def _with_rate(row: Row, trainer: _Trainer, seed: int) -> Record:
    """The row's protocol with a learning rate: given, or the best of several on validation."""
    rate = row.learning_rates[0]
    tried: dict[str, float] = {}
    if len(row.learning_rates) > 1 and len(trainer.validation[1]):
        own = derived_seed(seed, "select", row.what, row.ipc or 0)
        for candidate in row.learning_rates:
            protocol = row.at(candidate)
            images = row.selection_images()
            tried[str(candidate)] = trainer.accuracy(images, trainer.validation, protocol, own)
        rate = max(row.learning_rates, key=lambda candidate: tried[str(candidate)])
    described: Record = {**row.at(rate).describe(row.count), "labels": row.labels}
    if tried:
        described["learning_rates_on_validation"] = tried
    return described
