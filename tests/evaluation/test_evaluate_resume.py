"""An evaluation that is interrupted, repeated, prolonged or changed."""

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from evaluations import CONFIG, made_up_set, spied

from datm.data import DataSet
from datm.errors import InputError
from datm.evaluation import evaluate
from datm.runtime.device import Runtime
from datm.runtime.files import read_json, write_json
from datm.runtime.logs import Console, PlainConsole
from small_jobs import Interrupt

NETWORKS = 3 + 3 + 2 + 3  # distilled, random, random times two, full
SELECTIONS = 3 * 2  # learning rates for the last three

Records = list[dict[str, Any]]


def results(records: Records) -> Records:
    """All but the seconds."""
    return [{k: v for k, v in record.items() if k != "seconds"} for record in records]


@pytest.fixture(scope="module")
def whole(digits: DataSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """evaluation.json of an uninterrupted evaluation."""
    path = tmp_path_factory.mktemp("whole") / "evaluation.json"
    found = evaluate(made_up_set(digits), digits, config=CONFIG, out=path)
    assert read_json(path) == found
    assert len(found) == 4
    return path


class Count(Console):
    """Keeps what the stages say of their progress."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[Any] = []

    def start(self, title: str, total: int, done: int = 0) -> None:
        self.said.append((title, total, done))

    def advance(self, done: int, **figures: Any) -> None:
        self.said.append(done)

    @property
    def trained(self) -> int:
        return sum(isinstance(said, int) for said in self.said)


@pytest.mark.parametrize("at", [1, 3, 4, 7, 8, NETWORKS])
def test_continued_after_ctrl_c_equals_uninterrupted(
    digits: DataSet, whole: Path, tmp_path: Path, at: int
) -> None:
    path = tmp_path / "evaluation.json"
    with pytest.raises(KeyboardInterrupt):
        evaluate(made_up_set(digits), digits, config=CONFIG, out=path, console=Interrupt(at))
    assert sum(len(record["accuracies"]) for record in read_json(path)) == at
    count = Count()
    distilled = made_up_set(digits)
    found = evaluate(distilled, digits, config=CONFIG, out=path, console=count)
    assert results(found) == results(read_json(whole))
    assert read_json(path) == found == distilled.records
    assert count.trained == NETWORKS - at


def test_a_row_that_was_begun_shows_its_progress(digits: DataSet, tmp_path: Path) -> None:
    path = tmp_path / "evaluation.json"
    config = replace(CONFIG, baselines=())
    with pytest.raises(KeyboardInterrupt):
        evaluate(made_up_set(digits), digits, config=config, out=path, console=Interrupt(2))
    count = Count()
    evaluate(made_up_set(digits), digits, config=config, out=path, console=count)
    assert count.said == [("evaluate distilled, 2 per class", 3, 2), 3]


def test_plain_lines_of_a_continued_row(digits: DataSet, tmp_path: Path) -> None:
    path = tmp_path / "evaluation.json"
    config = replace(CONFIG, baselines=())
    with pytest.raises(KeyboardInterrupt):
        evaluate(made_up_set(digits), digits, config=config, out=path, console=Interrupt(1))
    stream = io.StringIO()
    [record] = evaluate(
        made_up_set(digits), digits, config=config, out=path, console=PlainConsole(stream)
    )
    lines = stream.getvalue().splitlines()
    assert lines[0].startswith("evaluate distilled, 2 per class: 2/3")
    assert lines[-1].endswith(f"{100 * record['mean']:.1f} +- {100 * record['std']:.1f}%")


def test_what_is_finished_is_not_trained_again(
    digits: DataSet, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spy = spied(monkeypatch)
    before = whole.read_bytes()
    stamp = whole.stat().st_mtime_ns
    found = evaluate(made_up_set(digits), digits, config=CONFIG, out=whole)
    assert not spy.trainings
    assert found == json.loads(before)
    assert whole.read_bytes() == before
    assert whole.stat().st_mtime_ns == stamp


def test_more_networks_join_the_ones_that_are_there(
    digits: DataSet, whole: Path, tmp_path: Path
) -> None:
    path = tmp_path / "evaluation.json"
    config = replace(CONFIG, seeds=2, multiple_seeds=1)
    evaluate(made_up_set(digits), digits, config=config, out=path)
    count = Count()
    found = evaluate(made_up_set(digits), digits, config=CONFIG, out=path, console=count)
    assert count.trained == 4
    assert results(found) == results(read_json(whole))
    fewer = evaluate(made_up_set(digits), digits, config=config, out=path)
    assert fewer == found  # more evidence than was asked for is no reason to throw it away


ALL = {"distilled", "random", "full"}

CHANGES: dict[str, tuple[dict[str, Any], set[str]]] = {
    "nothing": ({}, set()),
    "epochs": ({"epochs": 7}, {"distilled", "random"}),
    "full_epochs": ({"full_epochs": 1}, {"full"}),
    "batch": ({"batch": 9}, ALL),
    "momentum": ({"momentum": 0.8}, ALL),
    "weight_decay": ({"weight_decay": 0.0}, ALL),
    "augmentation": ({"augmentation": "flip"}, ALL),
    "learning_rates": ({"learning_rates": (0.2,)}, {"random", "full"}),
    "seed": ({}, ALL),
    "precision": ({}, ALL),
    "distilled set": ({}, {"distilled"}),
    "training images": ({}, ALL),
    "validation images": ({}, ALL),
    "test images": ({}, ALL),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_recomputes_the_rows_that_it_concerns(
    digits: DataSet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: str,
) -> None:
    spied(monkeypatch)
    path = tmp_path / "evaluation.json"
    config = replace(CONFIG, random_multiples=(), seeds=2)
    before = evaluate(made_up_set(digits), digits, config=config, out=path)
    changes, concerned = CHANGES[change]
    data, distilled = digits, made_up_set(digits)
    if change == "distilled set":
        distilled.images[3] += 0.01
    elif change.endswith(" images"):
        name = change.removesuffix(" images").removesuffix("ing")
        split = getattr(data, name)
        images = split.images.clone()
        images[7, 0, 4, 4] ^= 1
        data = replace(data, **{name: replace(split, images=images)})
    runtime = Runtime(precision="bfloat16" if change == "precision" else "float32")
    count = Count()
    after = evaluate(
        distilled,
        data,
        config=replace(config, **changes),
        seed=int(change == "seed"),
        runtime=runtime,
        out=path,
        console=count,
    )
    begun = {said[0].split(",")[0].split()[1] for said in count.said if isinstance(said, tuple)}
    assert begun == concerned
    for old, new in zip(before, after, strict=True):
        assert (new == old) == (new["what"] not in concerned)
    assert read_json(path) == after  # what was replaced is gone


def test_rows_of_other_networks_and_sizes_are_kept(
    digits: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spied(monkeypatch)
    path = tmp_path / "evaluation.json"
    config = replace(CONFIG, baselines=("random",))
    first = evaluate(made_up_set(digits), digits, ["convnet-2,width=4"], config=config, out=path)
    second = evaluate(
        made_up_set(digits), digits, config=replace(config, baselines=("full",)), out=path
    )
    assert sorted(map(str, read_json(path))) == sorted(map(str, first + second))


@pytest.mark.parametrize("text", ["", "{}", '"no"', "[1]", "[{}"])
def test_a_file_of_something_else_is_refused_and_kept(
    digits: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    spy = spied(monkeypatch)
    path = tmp_path / "evaluation.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"evaluation\.json: "):
        evaluate(made_up_set(digits), digits, config=CONFIG, out=path)
    assert path.read_text() == text
    assert not spy.trainings


def test_records_made_elsewhere_are_kept(
    digits: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records without a key (say, added by hand from a paper) are never taken for ours."""
    spied(monkeypatch)
    path = tmp_path / "evaluation.json"
    theirs = {"what": "published", "model": "convnet-3", "ipc": 2, "accuracies": [0.5]}
    write_json(path, [theirs])
    evaluate(made_up_set(digits), digits, config=replace(CONFIG, baselines=()), out=path)
    assert theirs in read_json(path)
    assert len(read_json(path)) == 2
