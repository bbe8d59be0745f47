"""The Hub by name, with the real `datasets` library over data sets made here; no network."""

import builtins
from pathlib import Path

import datasets
import pytest
from PIL import Image

from datm.data import load_data
from datm.errors import InputError

FEATURES = datasets.Features(
    {"image": datasets.Image(), "label": datasets.ClassLabel(names=["ant", "bee"])}
)


def part(n: int, first: int = 0) -> datasets.Dataset:
    """Images filled with first + i, of class i % 2."""
    images = [Image.new("L", (4, 4), first + i) for i in range(n)]
    rows = {"image": images, "label": [i % 2 for i in range(n)]}
    return datasets.Dataset.from_dict(rows, features=FEATURES)


@pytest.fixture
def hub(monkeypatch):
    """A hub with one data set; returns the calls made of it."""
    calls = []
    content = {"train": part(8), "test": part(2, 100)}

    def load_dataset(name, subset=None):
        calls.append((name, subset))
        return datasets.DatasetDict(content)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    load_dataset.calls, load_dataset.content = calls, content
    return load_dataset


def refuse(source: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        load_data(source)
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)


def test_a_data_set_by_name(hub):
    data = load_data("hub:someone/zoo")
    assert hub.calls == [("someone/zoo", None)]
    assert data.name == "someone/zoo"
    assert data.classes == ("ant", "bee")
    assert data.test.images[:, 0, 0, 0].tolist() == [100, 101]
    assert data.test.labels.tolist() == [0, 1]
    assert len(data.train) + len(data.validation) == 8


def test_a_config_after_a_colon(hub):
    load_data("hub:someone/zoo:small")
    assert hub.calls == [("someone/zoo", "small")]


def test_validation_is_used_and_other_splits_are_noted(hub):
    hub.content |= {"valid": part(4, 200), "extra": part(2)}
    data = load_data("hub:someone/zoo")
    assert data.validation.images[:, 0, 0, 0].tolist() == [200, 201, 202, 203]
    assert any("split 'extra' is not used" in note for note in data.notes)


def test_images_kept_as_files_in_the_cache_are_read(hub, tmp_path):
    paths = []
    for i in range(4):
        paths.append(str(tmp_path / f"{i}.png"))
        Image.new("L", (4, 4), 50 + i).save(paths[-1])
    rows = {"image": paths, "label": [0, 1, 0, 1]}
    hub.content["test"] = datasets.Dataset.from_dict(rows, features=FEATURES)
    data = load_data("hub:someone/zoo")
    assert data.test.images[:, 0, 0, 0].tolist() == [50, 51, 52, 53]


def test_a_filtered_data_set_keeps_its_rows(hub):
    """A selection is an index over the same table: the index must be obeyed."""
    hub.content["test"] = part(6, 100).select([5, 2])
    assert load_data("hub:someone/zoo").test.images[:, 0, 0, 0].tolist() == [105, 102]


def test_real_files_through_the_real_library(tmp_path, monkeypatch):
    for split, dataset in {"train": part(8), "test": part(2, 100)}.items():
        dataset.to_parquet(tmp_path / "zoo" / f"{split}-00000-of-00001.parquet")
    real = datasets.load_dataset

    def here(name, subset):
        folder = str(tmp_path / Path(name).name)
        return real(folder, subset, cache_dir=str(tmp_path / "cache"))

    monkeypatch.setattr(datasets, "load_dataset", here)
    by_name = load_data("hub:someone/zoo")
    by_path = load_data(str(tmp_path / "zoo"))
    assert by_name.fingerprint == by_path.fingerprint
    assert by_name.classes == by_path.classes


def test_without_the_library_it_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def no_datasets(name, *arguments):
        if name == "datasets":
            raise ImportError(name)
        return real(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", no_datasets)
    refuse("hub:someone/zoo", r"needs the package datasets, .* pip install 'datm\[hub\]'")


def test_a_failed_download_is_one_sentence(monkeypatch):
    def fail(*_):
        raise ConnectionError("Couldn't reach the Hub\nand more\nlines.")

    monkeypatch.setattr(datasets, "load_dataset", fail)
    refuse("hub:someone/zoo", r"'hub:someone/zoo' could not be loaded \(Couldn't reach the Hub\)")


def test_no_train_split_is_refused(hub):
    hub.content["everything"] = hub.content.pop("train")
    refuse("hub:someone/zoo", r"has no train split \(found: test, everything\)")


@pytest.mark.parametrize("name", ["", "a/b/c", "someone/zoo:", "some one/zoo"])
def test_what_is_no_name_is_refused(name):
    refuse(f"hub:{name}", "is no Hub name; write hub:owner/name")
