"""A distilled set as a torch Dataset and as files.

Shapes: S images, K classes.
"""

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from datm.data import load_data
from datm.data.transform import Kind
from datm.distillation import DistilledSet
from datm.errors import InputError
from datm.runtime.files import load_tensors, read_json, save_tensors, write_json

KINDS: list[Kind] = ["none", "normalise", "zca"]


def made_up(kind: Kind = "normalise", ipc: int = 2) -> DistilledSet:
    """Images far outside of what pixels can show, and an awkward step size."""
    data = load_data("digits", transform=kind)
    draw = torch.Generator().manual_seed(1)
    rows = [(data.train.labels == k).nonzero().squeeze(1)[:ipc] for k in range(10)]
    images = data.transform(data.train.images[torch.cat(rows)])
    return DistilledSet(
        images=images + 0.5 * torch.randn(images.shape, generator=draw),
        logits=5 * torch.randn(10 * ipc, 10, generator=draw),
        step_size=1 / 30,
        classes=data.classes,
        transform=data.transform,
        meta={
            "data": data.describe(),
            "network": "convnet-1,width=4",
            "augmentation": "none",
            "iteration": 7,
            "iterations": 9,
            "validation_accuracy": 0.5,
            "recipe": {"seed": 3},
            "precision": "float32",
            "seconds": 1.5,
        },
        records=[],
    )


def record(accuracies: list[float]) -> dict[str, Any]:
    return {
        "what": "distilled",
        "model": "convnet-1",
        "ipc": 2,
        "images": 20,
        "accuracies": accuracies,
        "mean": 0.5,
        "std": 0.1,
        "protocol": {"epochs": 3},
        "seconds": 2.0,
        "key": "0123",
    }


@pytest.mark.parametrize("kind", KINDS)
def test_saved_and_loaded_it_is_the_same_to_the_bit(tmp_path: Path, kind: Kind) -> None:
    made = made_up(kind)
    made.records = [record([0.4, 0.6])]
    made.save(tmp_path)
    found = DistilledSet.load(tmp_path)
    assert torch.equal(found.images, made.images)
    assert torch.equal(found.logits, made.logits)
    assert found.step_size == made.step_size
    assert found.classes == made.classes
    assert found.records == made.records
    assert found.recipe == {"seed": 3}
    assert found.network == made.network
    assert found.ipc == 2
    assert found.fingerprint() == made.fingerprint()
    assert found.transform.kind == kind
    probe = load_data("digits").test.images[:5]
    assert torch.equal(found.transform(probe), made.transform(probe))
    assert torch.equal(found.pixels(), made.pixels())
    for name, value in made.meta.items():
        assert found.meta[name] == value
    # and once more: what was loaded is saved as the same files
    found.save(tmp_path / "again")
    for path in tmp_path.glob("*.*"):
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_pixels_are_the_images_as_they_look(kind: Kind) -> None:
    made = made_up(kind)
    pixels = made.pixels()
    assert pixels.shape == made.images.shape
    assert pixels.min() == 0
    assert pixels.max() == 1
    # undistilled images look like what they were
    data = load_data("digits", transform=kind)
    made.images = data.transform(data.train.images[:20])
    expected = data.train.images[:20].float() / 255
    torch.testing.assert_close(made.pixels(), expected, rtol=0, atol=2e-5)


def test_it_is_a_dataset_of_images_and_soft_labels() -> None:
    made = made_up()
    assert len(made) == 20
    image, label = made[7]
    assert torch.equal(image, made.images[7])
    torch.testing.assert_close(label, made.logits[7].exp() / made.logits[7].exp().sum())
    batches = list(DataLoader(made, batch_size=8))
    assert [images.shape for images, _ in batches] == [(8, 1, 8, 8), (8, 1, 8, 8), (4, 1, 8, 8)]
    assert torch.equal(torch.cat([images for images, _ in batches]), made.images)
    labels = torch.cat([labels for _, labels in batches])
    torch.testing.assert_close(labels.sum(1), torch.ones(20))
    assert torch.equal(labels.argmax(1), made.logits.argmax(1))
    assert len(list(iter(made))) == 20


def test_two_sets_can_be_compared() -> None:
    made = made_up()
    assert made == made
    assert made != made_up()


def test_the_fingerprint_sees_every_part() -> None:
    prints = {made_up().fingerprint()}
    for part in ("images", "logits"):
        other = made_up()
        getattr(other, part)[3].flatten()[0] += 1e-6
        prints.add(other.fingerprint())
    other = made_up()
    other.step_size += 1e-9
    prints.add(other.fingerprint())
    assert len(prints) == 4


def test_loading_never_unpickles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made_up("zca").save(tmp_path)

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("something was unpickled")

    for module, name in (
        (pickle, "load"),
        (pickle, "loads"),
        (pickle, "Unpickler"),
        (torch, "load"),
    ):
        monkeypatch.setattr(module, name, refuse)
    assert len(DistilledSet.load(tmp_path)) == 20
    monkeypatch.undo()
    # a pickle in the place of the tensors is refused, not run
    torch.save({"images": torch.zeros(20, 1, 8, 8)}, tmp_path / "distilled.safetensors")
    with pytest.raises(InputError, match=r"distilled\.safetensors: is not a readable safetensors"):
        DistilledSet.load(tmp_path)


def test_a_missing_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere: holds no distilled\.json"):
        DistilledSet.load(tmp_path / "nowhere")
    made_up().save(tmp_path)
    (tmp_path / "distilled.safetensors").unlink()
    with pytest.raises(InputError, match=r"distilled\.safetensors: there is no such file"):
        DistilledSet.load(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"format": "datm-distilled-0"},
        {"classes": None},
        {"classes": ["a", "b", "c"]},
        {"classes": 10},
        {"transform": None},
        {"transform": "zca"},
        {"transform": "whiten"},
    ],
)
def test_a_description_that_does_not_fit_is_one_sentence(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    made_up().save(tmp_path)
    meta = read_json(tmp_path / "distilled.json") | changes
    write_json(tmp_path / "distilled.json", {k: v for k, v in meta.items() if v is not None})
    with pytest.raises(InputError) as caught:
        DistilledSet.load(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[1]", "null"])
def test_a_broken_description_is_one_sentence(tmp_path: Path, text: str) -> None:
    made_up().save(tmp_path)
    (tmp_path / "distilled.json").write_text(text)
    with pytest.raises(InputError, match=r"distilled\.json: "):
        DistilledSet.load(tmp_path)


@pytest.mark.parametrize("name", ["images", "logits", "step_size", "transform.mean"])
@pytest.mark.parametrize("damage", ["missing", "other shape"])
def test_tensors_that_do_not_fit_are_one_sentence(tmp_path: Path, name: str, damage: str) -> None:
    made_up().save(tmp_path)
    tensors = load_tensors(tmp_path / "distilled.safetensors")
    tensor = tensors.pop(name)
    if damage == "other shape":
        tensors[name] = torch.cat([tensor, tensor]) if tensor.ndim else tensor.expand(2)
    save_tensors(tmp_path / "distilled.safetensors", tensors)
    with pytest.raises(InputError) as caught:
        DistilledSet.load(tmp_path)
    assert str(tmp_path / "distilled.safetensors") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_it_is_not_saved_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    with pytest.raises(InputError, match="file"):
        made_up().save(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "kept"
