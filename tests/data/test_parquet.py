"""Parquet in the Hub's layout, written here in the true form and read back."""

import io
import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from datm.data import load_data
from datm.errors import InputError
from real_data import cifar10

NAMES = ["ant", "bee"]


def png(value: int, mode: str = "L") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (4, 4), value if mode == "L" else (value,) * 3).save(buffer, "PNG")
    return buffer.getvalue()


def write(
    path: Path,
    labels: list,
    names: list[str] | None = NAMES,
    image: str = "img",
    label: str = "label",
    first: int = 0,
    **others,
) -> None:
    """One shard; image i is filled with first + i. `names`: None leaves the Hub's metadata out."""
    images = pa.array(
        [{"bytes": png(first + i), "path": None} for i in range(len(labels))],
        pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
    )
    table = pa.table({image: images, label: labels, **others})
    if names is not None:
        features = {
            image: {"_type": "Image"},
            label: {"names": names, "_type": "ClassLabel"},
            **{other: {"names": ["x", "y"], "_type": "ClassLabel"} for other in others},
        }
        metadata = {"huggingface": json.dumps({"info": {"features": features}})}
        table = table.replace_schema_metadata(metadata)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)


def make(root: Path, **options) -> Path:
    write(root / "train-00000-of-00001.parquet", [0, 1] * 4, **options)
    write(root / "test-00000-of-00001.parquet", [1, 0], first=100, **options)
    return root


def refuse(root: Path, message: str, **settings) -> None:
    with pytest.raises(InputError, match=message) as caught:
        load_data(str(root), **settings)
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)


def values(split) -> list[int]:
    return split.images[:, 0, 0, 0].tolist()


@pytest.mark.parametrize("names", [NAMES, None])
def test_with_and_without_the_hubs_metadata(names, tmp_path):
    data = load_data(str(make(tmp_path / "zoo", names=names)))
    assert data.name == "zoo"
    assert data.classes == (("ant", "bee") if names else ("0", "1"))
    assert values(data.test) == [100, 101]
    assert data.test.labels.tolist() == [1, 0]
    assert sorted(values(data.train) + values(data.validation)) == list(range(8))
    for split in (data.train, data.validation):
        assert [value % 2 for value in values(split)] == split.labels.tolist()
    assert data.notes == ()


def test_shards_are_joined_in_order(tmp_path):
    write(tmp_path / "train-00000-of-00002.parquet", [0, 1, 0])
    write(tmp_path / "train-00001-of-00002.parquet", [1, 0, 1], first=3)
    write(tmp_path / "test-00001-of-00002.parquet", [1], first=101)
    write(tmp_path / "test-00000-of-00002.parquet", [0], first=100)
    data = load_data(str(tmp_path))
    assert values(data.test) == [100, 101]
    assert sorted(values(data.train) + values(data.validation)) == list(range(6))


@pytest.mark.parametrize(
    "layout",
    [
        "{}.parquet",
        "data/{}-00000-of-00001.parquet",
        "plain_text/{}-00000-of-00001.parquet",
        "{}/0000.parquet",
        "default/{}/0000.parquet",
    ],
)
def test_the_layouts_the_hub_has(layout, tmp_path):
    write(tmp_path / layout.format("train"), [0, 1] * 4)
    write(tmp_path / layout.format("test"), [1, 0], first=100)
    assert values(load_data(str(tmp_path)).test) == [100, 101]


def test_a_validation_split_is_used_as_it_is(tmp_path):
    write(make(tmp_path) / "validation-00000-of-00001.parquet", [0, 1, 1], first=200)
    data = load_data(str(tmp_path))
    assert (len(data.train), values(data.validation)) == (8, [200, 201, 202])


def test_a_test_split_without_labels_gives_way_to_validation(tmp_path):
    make(tmp_path)
    write(tmp_path / "validation-00000-of-00001.parquet", [0, 1, 1], first=200)
    write(tmp_path / "test-00000-of-00001.parquet", [-1, -1], first=100)
    data = load_data(str(tmp_path))
    assert values(data.test) == [200, 201, 202]
    assert len(data.train) + len(data.validation) == 8
    assert any("no labels" in note for note in data.notes)


def test_the_label_column_can_be_chosen(tmp_path):
    for split, n in [("train", 8), ("test", 2)]:
        coarse = [0, 0, 1, 1] * 2 if n == 8 else [1, 0]
        write(tmp_path / f"{split}.parquet", [0, 1] * (n // 2), label="fine_label", coarse=coarse)
    fine = load_data(str(tmp_path))
    assert fine.classes == ("ant", "bee")
    assert any("'fine_label', of fine_label, coarse" in note for note in fine.notes)
    coarse = load_data(str(tmp_path), label_column="coarse")
    assert coarse.classes == ("x", "y")
    assert coarse.test.labels.tolist() == [1, 0]
    assert coarse.notes == ()
    refuse(
        tmp_path, r"label_column: 'fine' is not in .*img, fine_label, coarse", label_column="fine"
    )


def test_text_labels_are_class_names(tmp_path):
    write(tmp_path / "train.parquet", ["bee", "ant"] * 3, names=None)
    write(tmp_path / "test.parquet", ["ant", "bee"], names=None)
    data = load_data(str(tmp_path))
    assert data.classes == ("ant", "bee")
    assert data.test.labels.tolist() == [0, 1]


def test_plain_bytes_are_an_image_column(tmp_path):
    for split in ("train", "test"):
        table = pa.table({"picture": [png(k) for k in range(4)], "label": [0, 1, 0, 1]})
        pq.write_table(table, tmp_path / f"{split}.parquet")
    assert values(load_data(str(tmp_path)).test) == [0, 1, 2, 3]


def test_files_of_no_split_are_ignored_with_a_note(tmp_path):
    write(make(tmp_path) / "unlabelled-0.parquet", [0, 0])
    (note,) = load_data(str(tmp_path)).notes
    assert "1 Parquet file(s) of no known split ignored (unlabelled-0.parquet)" in note


def test_no_image_column_is_refused(tmp_path):
    for split in ("train", "test"):
        pq.write_table(pa.table({"text": ["a"], "label": [0]}), tmp_path / f"{split}.parquet")
    refuse(tmp_path, r"train\.parquet: no image column among text, label")


def test_no_label_column_is_refused(tmp_path):
    for split in ("train", "test"):
        pq.write_table(pa.table({"img": [png(1)], "t": [0.5]}), tmp_path / f"{split}.parquet")
    refuse(tmp_path, r"no column could be the label, of img, t; name it with data\.label_column")


def test_several_possible_label_columns_are_refused(tmp_path):
    for split in ("train", "test"):
        table = pa.table({"img": [png(1)], "a": [0], "b": [0]})
        pq.write_table(table, tmp_path / f"{split}.parquet")
    refuse(tmp_path, r"several columns could be the label")


def test_fractional_labels_are_refused(tmp_path):
    make(tmp_path)
    write(tmp_path / "train-00000-of-00001.parquet", [0.0, 1.5])
    refuse(tmp_path, "column 'label' holds double, but class numbers are whole numbers")


def test_empty_labels_are_refused(tmp_path):
    make(tmp_path)
    write(tmp_path / "train-00000-of-00001.parquet", [0, None, 1])
    refuse(tmp_path, "column 'label' has 1 empty labels")


@pytest.mark.parametrize("label", [2, -1])
def test_labels_out_of_range_are_refused(label, tmp_path):
    write(make(tmp_path) / "train-00000-of-00001.parquet", [0, 1, label])
    refuse(tmp_path, f"train split: label {label} at row 2 is none of the 2 training classes")


def test_a_test_class_that_is_not_in_train_is_refused(tmp_path):
    write(make(tmp_path, names=None) / "test-00000-of-00001.parquet", [0, 5], names=None)
    refuse(tmp_path, "test split: label 5 at row 1 is none of the 2 training classes")


def test_a_class_without_training_images_is_refused(tmp_path):
    refuse(make(tmp_path, names=[*NAMES, "cow"]), "class 'cow' has no training image")


def test_one_class_is_refused(tmp_path):
    for split in ("train", "test"):
        write(tmp_path / f"{split}.parquet", [0, 0], names=["ant"])
    refuse(tmp_path, "only one class")


def test_no_rows_are_refused(tmp_path):
    write(make(tmp_path) / "train-00000-of-00001.parquet", pa.array([], pa.int64()))
    refuse(tmp_path, "the train split has no images")


def test_an_unreadable_file_is_named(tmp_path):
    file = make(tmp_path) / "test-00000-of-00001.parquet"
    for content in (file.read_bytes()[:-20], b"PAR1", b""):
        file.write_bytes(content)
        refuse(tmp_path, r"test-00000-of-00001\.parquet: not a readable Parquet file")


def test_damage_inside_a_file_is_named(tmp_path):
    file = make(tmp_path) / "train-00000-of-00001.parquet"
    content = bytearray(file.read_bytes())
    content[4:400] = os.urandom(396)
    file.write_bytes(content)
    refuse(tmp_path, r"train-00000-of-00001\.parquet")


def test_a_corrupt_image_is_named_by_file_and_row(tmp_path):
    make(tmp_path)
    table = pa.table({"img": [png(1), b"xx"], "label": [0, 1]})
    pq.write_table(table, tmp_path / "test-00000-of-00001.parquet")
    refuse(tmp_path, "not a readable image")


def test_images_that_are_only_paths_are_refused(tmp_path):
    """A path in somebody's file is not followed."""
    Image.new("L", (4, 4)).save(tmp_path / "here.png")
    images = pa.array(
        [{"bytes": None, "path": str(tmp_path / "here.png")}] * 4,
        pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
    )
    for split in ("train", "test"):
        table = pa.table({"img": images, "label": [0, 1, 0, 1]})
        pq.write_table(table, tmp_path / f"{split}.parquet")
    refuse(tmp_path, "row 0 has no image bytes in column 'img'")


def test_shards_with_other_columns_are_refused(tmp_path):
    write(make(tmp_path) / "test-00000-of-00001.parquet", [0, 1], label="other")
    refuse(tmp_path, r"test-.*has no column 'label'")


def test_a_single_file_is_refused(tmp_path):
    make(tmp_path)
    refuse(tmp_path / "train-00000-of-00001.parquet", "is one file; give the folder")


def test_no_train_file_is_refused(tmp_path):
    (make(tmp_path) / "train-00000-of-00001.parquet").rename(tmp_path / "part-0.parquet")
    refuse(tmp_path, "has no train Parquet file")


def test_several_data_sets_in_one_folder_are_refused(tmp_path):
    make(tmp_path / "a")
    make(tmp_path / "b")
    refuse(tmp_path, "several data sets; give one of .*a, .*b")


def test_a_thousand_real_cifar10_images(tmp_path):
    for file in cifar10().glob("*.parquet"):
        start = pq.ParquetFile(file).iter_batches(batch_size=1000)
        pq.write_table(pa.Table.from_batches([next(start)]), tmp_path / file.name)
    data = load_data(str(tmp_path))
    assert data.classes[:3] == ("airplane", "automobile", "bird")
    assert data.shape == (3, 32, 32)
    assert len(data.train) + len(data.validation) == len(data.test) == 1000
    x = data.transform(data.train.images)
    torch.testing.assert_close(x.mean((0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)


@pytest.mark.slow
def test_the_whole_of_real_cifar10():
    data = load_data(str(cifar10()), transform="zca")
    assert [len(split) for split in (data.train, data.validation, data.test)] == [
        45000,
        5000,
        10000,
    ]
    assert torch.bincount(data.train.labels).tolist() == [4500] * 10
    assert torch.bincount(data.validation.labels).tolist() == [500] * 10
    assert torch.bincount(data.test.labels).tolist() == [1000] * 10
    assert len(data.classes) == 10
    assert data.notes == ()
    x = data.transform(data.test.images[:1000])
    pixels = data.test.images[:1000] / 255
    torch.testing.assert_close(data.transform.inverse(x), pixels, atol=1e-4, rtol=0)
