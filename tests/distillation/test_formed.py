"""A distillation whose stored images hold several training images each.

Letters: R stored images, S images to train on, K classes.
"""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from datm import evaluate
from datm.data import DataSet
from datm.distillation import DistilledSet, distill, job
from datm.distillation.loop import initial_set
from datm.errors import InputError
from datm.evaluation import EvaluateConfig
from datm.formation import by_stored, form, store
from datm.matching import MatchGradient
from datm.reporting import markdown_table, run_folder
from datm.runtime.device import Runtime
from datm.runtime.files import load_tensors, read_json, write_json
from datm.teaching import Trajectories
from small_jobs import DISTILL, Recorded, tree

FORMED = replace(DISTILL, formation=2, match=replace(DISTILL.match, segments=2))


@pytest.fixture(scope="module")
def run(digits: DataSet, teachers: Trajectories, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("formed")
    distill(digits, teachers, FORMED, out=out)
    return out


def test_students_train_on_the_pieces(
    digits: DataSet, teachers: Trajectories, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are given all S enlarged, from real images made smaller; batches are drawn from S."""
    found = Recorded(monkeypatch)
    distill(digits, teachers, replace(FORMED, iterations=20))
    images, logits = found.each("images"), found.each("logits")
    assert {tuple(given.shape) for given in images} == {(40, 1, 8, 8)}
    assert {tuple(given.shape) for given in logits} == {(40, 10)}
    assert torch.cat([rows.flatten() for rows in found.each("batches")]).unique().numel() == 40
    space = digits.transform(digits.train.images)
    small = form(store(space, 2), 2)
    apart = (images[0].flatten(1)[:, None] - small.flatten(1)).abs().amax(2)
    rows = apart.argmin(1)
    assert apart.min(1).values.max() < 1e-5
    assert torch.equal(digits.train.labels[rows], torch.arange(10).repeat_interleave(4))
    assert rows.unique().numel() == 40


def test_the_stored_images_follow_their_own_gradient(
    digits: DataSet, teachers: Trajectories, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One update of plain SGD: that by the pieces, by the transpose."""
    match, gradients = job.match_gradient, []

    def recorded(*arguments: object) -> MatchGradient:
        gradients.append(match(*arguments))  # type: ignore[arg-type]
        return gradients[-1]

    monkeypatch.setattr(job, "match_gradient", recorded)
    config = replace(FORMED, iterations=1, match=DISTILL.match, images_momentum=0.0)
    distill(digits, teachers, config, out=tmp_path)
    before, after = (
        load_tensors(tmp_path / "distilled" / f"{name}.safetensors")["images"]
        for name in ("initial", "last")
    )
    (gradient,) = gradients
    assert gradient.images_grad.shape == (40, 1, 8, 8)
    assert before.shape == (10, 1, 8, 8)
    expected = before - config.images_lr * by_stored(gradient.images_grad, 2)
    torch.testing.assert_close(after, expected)
    assert not torch.equal(after, before)


def test_it_is_stored_small_and_comes_back_the_same(run: Path, tmp_path: Path) -> None:
    """R images and S labels in the file, S of both to train on; it begins as it began."""
    found = DistilledSet.load(run / "distilled")
    tensors = load_tensors(run / "distilled" / "distilled.safetensors")
    assert tensors["images"].shape == (10, 1, 8, 8)
    assert tensors["logits"].shape == found.logits.shape == (40, 10)
    assert (found.ipc, found.formation, len(found)) == (1, 2, 40)
    assert torch.equal(found.images, form(tensors["images"], 2))
    assert torch.equal(found[7][0], found.images[7])
    assert found.pixels().shape == (40, 1, 8, 8)
    found.save(tmp_path)
    name = "distilled.safetensors"
    assert tree(tmp_path)[name] == tree(run / "distilled")[name]
    again = DistilledSet.load(tmp_path)
    assert again.fingerprint() == found.fingerprint()
    begun = initial_set(found, run / "distilled")
    assert begun is not None
    assert (begun.ipc, begun.formation, len(begun)) == (1, 2, 40)
    initial = load_tensors(run / "distilled" / "initial.safetensors")
    assert torch.equal(begun.stored, initial["images"])
    assert torch.equal(begun.images, form(initial["images"], 2))


def test_stopped_and_side_by_side_it_ends_the_same(
    digits: DataSet, teachers: Trajectories, run: Path, tmp_path: Path
) -> None:
    for iterations in (3, FORMED.iterations):
        config = replace(FORMED, iterations=iterations)
        distill(digits, teachers, config, out=tmp_path / "halves")
    name = "distilled/last.safetensors"
    assert tree(run)[name] == tree(tmp_path / "halves")[name]
    distill(digits, teachers, FORMED, out=tmp_path / "beside", runtime=Runtime(side_by_side=2))
    alone, beside = (load_tensors(folder / name) for folder in (run, tmp_path / "beside"))
    for key in alone:
        torch.testing.assert_close(alone[key], beside[key], rtol=2e-3, atol=1e-3)


def test_a_checkpoint_from_before_there_were_pieces_is_continued(
    digits: DataSet, teachers: Trajectories, tmp_path: Path
) -> None:
    """Its description has no such field: it is that of images as they are."""
    distill(digits, teachers, replace(DISTILL, iterations=2), out=tmp_path)
    with safe_open(tmp_path / "checkpoint" / "state.safetensors", framework="pt") as file:
        identity = json.loads(file.metadata()["identity"])
    assert "formation" not in identity["distill"]
    with pytest.raises(InputError, match=r"belongs to another distillation \(.*formation"):
        distill(digits, teachers, replace(DISTILL, formation=2), out=tmp_path)


def test_it_is_compared_with_as_many_real_images_as_it_stores(run: Path, digits: DataSet) -> None:
    found = DistilledSet.load(run / "distilled")
    config = EvaluateConfig(epochs=2, learning_rates=(0.1,), seeds=1, baselines=("random",))
    records = evaluate(found, digits, config=config)
    sizes = {r["what"]: (r["ipc"], r["images"], r.get("pieces")) for r in records}
    assert sizes == {"distilled": (1, 10, 4), "random": (1, 10, None)}
    assert records[0]["protocol"]["steps"] == records[1]["protocol"]["steps"] == 2
    assert "| 10 × 4 | 1 |" in markdown_table(records)
    assert "| 10 | 1 |" in markdown_table(records)


def test_another_run_goes_on_from_it(
    digits: DataSet, teachers: Trajectories, run: Path, tmp_path: Path
) -> None:
    begun = str(run / "distilled")
    config = replace(FORMED, begin_with=begun, labels="hard", iterations=0)
    found = distill(digits, teachers, config)
    there = DistilledSet.load(begun)
    assert torch.equal(found.stored, there.stored)
    assert torch.equal(found.logits.argmax(1), torch.arange(10).repeat_interleave(4))
    with pytest.raises(InputError, match=r"has the formation 2, distill\.formation is 1"):
        distill(digits, teachers, replace(DISTILL, begin_with=begun))


def test_what_cannot_be_formed_is_refused(digits: DataSet, teachers: Trajectories) -> None:
    with pytest.raises(InputError, match=r"^distill\.formation: images of 8x8 pixels cannot"):
        distill(digits, teachers, replace(DISTILL, formation=3))
    with pytest.raises(InputError, match=r"^ipc: 3 images per class, 4 in each, were asked for"):
        distill(digits, teachers, replace(DISTILL, formation=2, ipc=3))


@pytest.mark.parametrize("formation", [0, 3, "2", None, 1])
def test_a_damaged_description_is_refused(run: Path, tmp_path: Path, formation: object) -> None:
    DistilledSet.load(run / "distilled").save(tmp_path)
    meta = read_json(tmp_path / "distilled.json")
    write_json(tmp_path / "distilled.json", {**meta, "formation": formation})
    with pytest.raises(InputError, match=r"restore (it|the files)\.$"):
        DistilledSet.load(tmp_path)


def test_card_and_picture_tell_of_the_pieces(run: Path) -> None:
    """The picture shows what is stored: one image a class."""
    from PIL import Image

    text = (run / "distilled" / "README.md").read_text()
    assert "- images: 10 of 8 × 8 pixels, 1 channel, 1 per class" in text
    assert "- each is 4 training images in one: cut into 2 by 2 pieces, row by row" in text
    assert "enlarged to 8 × 8 (bilinear) and have a label each; 40 in all" in text
    plain = (run / "distilled" / "preview.png").with_name("plain.png")
    from datm.reporting import preview_png

    found = DistilledSet.load(run / "distilled")
    preview_png(store(found.pixels(), 2), list(found.classes), 1, plain)
    with Image.open(plain) as one, Image.open(run / "distilled" / "preview.png") as other:
        assert one.size == other.size
        assert one.tobytes() == other.tobytes()
    plain.unlink()


def test_a_report_forms_only_what_it_shows(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of four pieces a class, of four of ten classes; after and before distillation."""
    formed = []

    def counted(stored: torch.Tensor, formation: int) -> torch.Tensor:
        formed.append(len(stored))
        return form(stored, formation)

    monkeypatch.setattr(run_folder, "CARDS", 4)
    monkeypatch.setattr(run_folder, "form", counted)
    found = run_folder.read_run(run)
    gallery, whole = found.distilled, DistilledSet.load(run / "distilled")
    assert gallery is not None
    assert (gallery.classes, gallery.shown, gallery.per_class) == (4, 1, 4)
    torch.testing.assert_close(gallery.pixels, whole.pixels()[[0, 4, 8, 12]])
    torch.testing.assert_close(gallery.probabilities, whole.logits[[0, 4, 8, 12]].softmax(1))
    assert formed == [4, 4]
