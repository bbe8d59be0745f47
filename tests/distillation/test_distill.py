"""What a distillation returns: it follows the teachers, and its best iterate is the one chosen."""

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from datm.data import DataSet, Split, load_data
from datm.distillation import DistillConfig, DistilledSet, distill, loop
from datm.distillation.loop import initial_set
from datm.distillation.segments import Segments
from datm.distillation.state import State
from datm.errors import InputError
from datm.evaluation import Protocol, train_network
from datm.matching import Student, match_gradient, student_loss
from datm.networks import Predictor, make_network
from datm.runtime.device import Runtime
from datm.runtime.files import load_tensors, read_json, read_json_lines
from datm.runtime.seeds import derived_seed
from datm.teaching import Trajectories, teach
from small_jobs import AUGMENTATION, DISTILL, INITIAL, NETWORK, TEACH, small_digits, tree


def validations(out: Path) -> list[tuple[int, float, bool]]:
    return [
        (line["iteration"], line["validation_accuracy"], line["best"])
        for line in read_json_lines(out / "metrics.jsonl")
        if "validation_accuracy" in line
    ]


def test_the_distilled_set_follows_the_teachers(tmp_path: Path) -> None:
    """On segments and batches held fixed, every matching loss falls to well below a half."""
    data = small_digits(30, 5)
    config = replace(TEACH, network="convnet-1,width=8", epochs=6, batch=20)
    teachers = teach(data, config, out=tmp_path / "trajectories")
    match = replace(DISTILL.match, inner_steps=8, teacher_epochs=2, batch=10, last_upper=4)
    settings = replace(
        DISTILL,
        match=match,
        iterations=25,
        initial="correct",
        validate_every=25,
        validate_epochs=40,
    )
    distill(data, teachers, settings, out=tmp_path)
    student = Student(student_loss(make_network(teachers.network, data.shape, 10)))
    everything = torch.arange(10).expand(8, 10)

    def losses(iterate: str) -> Tensor:
        tensors = load_tensors(tmp_path / "distilled" / f"{iterate}.safetensors")
        values = tensors["images"], tensors["logits"], tensors["step_size"]
        segments = [teachers.segment(k, start, 2) for k in range(2) for start in range(4)]
        matched = [match_gradient(student, *ends, *values, everything) for ends in segments]
        return torch.stack([gradient.loss for gradient in matched])

    before, after = losses("initial"), losses("last")
    assert (before > 0.4).all()
    assert (after < 0.5 * before).all()
    [(_, untouched, _), (_, distilled, _)] = validations(tmp_path)
    assert distilled > untouched


ACCURACIES = {0: 0.1, 3: 0.5, 6: 0.8, 9: 0.8, 12: 0.7, 13: 0.2}


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    def accuracy(_: Any, state: State) -> float:
        return ACCURACIES[state.iteration]

    monkeypatch.setattr(loop.Job, "validate", accuracy)


@pytest.mark.usefixtures("scripted")
def test_the_first_of_the_best_iterates_is_returned_and_the_last_one_kept(
    digits: DataSet, teachers: Trajectories, tmp_path: Path
) -> None:
    made = distill(digits, teachers, replace(DISTILL, iterations=13), out=tmp_path / "all")
    assert validations(tmp_path / "all") == [
        (iteration, accuracy, iteration in (0, 3, 6)) for iteration, accuracy in ACCURACIES.items()
    ]
    assert (made.meta["iteration"], made.meta["iterations"]) == (6, 13)
    assert made.meta["validation_accuracy"] == 0.8
    distill(digits, teachers, replace(DISTILL, iterations=6), out=tmp_path / "six")
    six = load_tensors(tmp_path / "six" / "distilled" / "last.safetensors")
    assert torch.equal(made.images, six["images"])
    assert torch.equal(made.logits, six["logits"])
    assert made.step_size == float(six["step_size"])
    last = load_tensors(tmp_path / "all" / "distilled" / "last.safetensors")
    assert not torch.equal(last["images"], made.images)


@pytest.mark.parametrize("networks", [1, 2])
def test_the_accuracy_of_the_best_is_that_of_networks_trained_on_it(
    digits: DataSet, teachers: Trajectories, tmp_path: Path, networks: int
) -> None:
    config = replace(DISTILL, validate_networks=networks)
    made = distill(digits, teachers, config, out=tmp_path)
    measured = [accuracy for _, accuracy, _ in validations(tmp_path)]
    assert made.meta["validation_accuracy"] == max(measured) > min(measured)
    network = make_network(NETWORK, digits.shape, 10)
    student = Student(student_loss(network))
    protocol = Protocol(
        learning_rate=made.step_size, epochs=DISTILL.validate_epochs, augmentation=AUGMENTATION
    )
    images = digits.transform(digits.validation.images)
    found = [
        Predictor(network).accuracy(
            train_network(
                network,
                student,
                made.images,
                made.logits,
                protocol,
                derived_seed(0, "validate", number),
            ),
            images,
            digits.validation.labels,
            reference=made.images,
        )
        for number in range(networks)
    ]
    assert made.meta["validation_accuracy"] == pytest.approx(sum(found) / networks)


def garbage(split: Split) -> Split:
    draw = torch.Generator().manual_seed(0)
    images = torch.randint(256, split.images.shape, generator=draw, dtype=torch.uint8)
    return Split(images, torch.randint(10, split.labels.shape, generator=draw))


def test_the_test_split_plays_no_part(
    digits: DataSet, teachers: Trajectories, tmp_path: Path
) -> None:
    made = distill(digits, teachers, DISTILL, out=tmp_path / "a")
    spoilt = replace(digits, test=garbage(digits.test))
    other = distill(spoilt, teachers, DISTILL, out=tmp_path / "b")
    assert other.fingerprint() == made.fingerprint()
    assert validations(tmp_path / "a") == validations(tmp_path / "b")
    # ... whereas the validation split does: the same test could fail
    spoilt = replace(digits, validation=garbage(digits.validation))
    distill(spoilt, teachers, DISTILL, out=tmp_path / "c")
    assert validations(tmp_path / "a") != validations(tmp_path / "c")


def test_without_a_validation_split_the_last_iterate_is_the_best(
    digits: DataSet, tmp_path: Path
) -> None:
    data = replace(digits, validation=digits.validation.select(torch.arange(0)))
    teachers = teach(data, TEACH, out=tmp_path / "trajectories")
    made = distill(data, teachers, replace(DISTILL, iterations=5), out=tmp_path)
    last = load_tensors(tmp_path / "distilled" / "last.safetensors")
    assert torch.equal(made.images, last["images"])
    assert made.meta["iteration"] == 5
    assert made.meta["validation_accuracy"] is None
    assert validations(tmp_path) == []


def test_the_set_says_what_it_is(digits: DataSet, teachers: Trajectories, tmp_path: Path) -> None:
    config = replace(DISTILL, ipc=2)
    made = distill(digits, teachers, config, out=tmp_path, seed=4)
    assert made.images.shape == (20, 1, 8, 8)
    assert made.logits.shape == (20, 10)
    assert made.classes == digits.classes
    assert (len(made), made.ipc) == (20, 2)
    assert made.network == teachers.network
    assert made.augmentation == AUGMENTATION
    meta = read_json(tmp_path / "distilled" / "distilled.json")
    assert meta["format"] == "datm-distilled-1"
    assert meta["data"] == digits.describe()
    assert meta["recipe"]["distill"] == asdict(config)
    assert meta["recipe"]["seed"] == 4
    assert meta["seconds"] > 0
    assert set(tree(tmp_path / "distilled")) == {
        *("distilled.safetensors", "initial.safetensors", "last.safetensors"),
        *("distilled.json", "preview.png", "README.md"),
    }


def test_the_set_before_distillation_is_real_images(
    digits: DataSet, teachers: Trajectories, tmp_path: Path
) -> None:
    made = distill(digits, teachers, DISTILL, out=tmp_path)
    before = initial_set(made, tmp_path / "distilled")
    assert before is not None
    real = digits.transform(digits.train.images)
    for number, image in enumerate(before.images):
        found = (real == image).flatten(1).all(1).nonzero().squeeze(1)
        assert number in digits.train.labels[found].tolist()
    assert before.step_size == pytest.approx(DISTILL.step_size)
    assert not torch.equal(before.images, made.images) or made.meta["iteration"] == 0
    assert initial_set(made, tmp_path / "elsewhere") is None


def no_work(*_: Any) -> None:
    raise AssertionError("work was begun")


Alter = Callable[
    [DataSet, Trajectories, DistillConfig], tuple[DataSet, Trajectories, DistillConfig]
]

REFUSED: dict[str, tuple[Alter, str]] = {
    "ipc": (
        lambda data, teachers, config: (data, teachers, replace(config, ipc=11)),
        r"^ipc: 11 images per class .* class, '\d', has 10 training images",
    ),
    "window": (
        lambda data, teachers, config: (
            data,
            teachers,
            replace(config, match=replace(config.match, last_upper=4, teacher_epochs=2)),
        ),
        r"^match\.last_upper: segments end at epoch 5, but the teachers in .* have 4 epochs",
    ),
    "training images": (
        lambda data, teachers, config: (
            replace(data, train=garbage(data.train)),
            teachers,
            config,
        ),
        r"teachers saw other data \(fingerprint '\w+', here '\w+'\)",
    ),
    "transform": (
        lambda data, teachers, config: (
            replace(data, transform=load_data("digits", transform="zca").transform),
            teachers,
            config,
        ),
        r"teachers saw other data \(transform 'normalise', here 'zca'\)",
    ),
    "unfinished": (
        lambda data, teachers, config: (
            data,
            Trajectories(teachers.path, {**teachers.manifest, "teachers": []}),
            config,
        ),
        "no teacher is finished",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_together_is_refused_before_any_work(
    digits: DataSet,
    teachers: Trajectories,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    case: str,
) -> None:
    alter, message = REFUSED[case]
    monkeypatch.setattr(loop, "Job", no_work)
    with pytest.raises(InputError, match=message) as caught:
        distill(*alter(digits, teachers, DISTILL), out=tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_the_widest_window_that_fits_is_used(digits: DataSet, teachers: Trajectories) -> None:
    config = replace(DISTILL, iterations=3, match=replace(DISTILL.match, last_upper=4))
    assert isinstance(distill(digits, teachers, config), DistilledSet)


def test_segments_side_by_side_are_those_matched_one_at_a_time(tmp_path: Path) -> None:
    data = small_digits(20, 3)
    teachers = teach(data, TEACH, out=tmp_path)
    config = replace(DISTILL, match=replace(DISTILL.match, segments=3), iterations=4)
    alone, together = (
        distill(data, teachers, config, runtime=Runtime(side_by_side=side)) for side in (1, 2)
    )
    torch.testing.assert_close(together.images, alone.images, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(together.logits, alone.logits, rtol=1e-4, atol=1e-5)
    assert together.step_size == pytest.approx(alone.step_size, rel=1e-4)


def test_draws_made_ahead_are_the_same(tmp_path: Path) -> None:
    teachers = teach(small_digits(10, 3), TEACH, out=tmp_path)
    match = replace(DISTILL.match, segments=2)
    plain = Segments(teachers, INITIAL, match, 10, 20, seed=0, device=torch.device("cpu"))
    ahead = Segments(
        teachers, INITIAL, match, 10, 20, seed=0, device=torch.device("cpu"), ahead=True
    )
    for iteration in (0, 1, 2, 7, 3):  # in order, and after jumps
        for one, other in zip(plain(iteration), ahead(iteration), strict=True):
            assert one.segment == other.segment
            assert one.augment.operations == other.augment.operations
            assert torch.equal(one.augment.uniforms, other.augment.uniforms)
            for name in ("start", "target", "batches"):
                assert torch.equal(getattr(one, name), getattr(other, name))
