"""The original CIFAR archives in all four forms, made small, as archive and as folder."""

import io
import os
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest

from datm.data import load_data
from datm.errors import InputError

TEN = [f"name{k}" for k in range(10)]
FINE = [f"fine{k}" for k in range(100)]
COARSE = [f"coarse{k}" for k in range(20)]


def pixels(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 3072), dtype=np.uint8)


def dump(content: dict) -> bytes:
    """As published: protocol 2, keys and names as bytes."""
    encoded = {
        key.encode(): [v.encode() if isinstance(v, str) else v for v in value]
        if isinstance(value, list)
        else value
        for key, value in content.items()
    }
    return pickle.dumps(encoded, protocol=2)


def binary(*columns: list[int] | np.ndarray) -> bytes:
    rows = [np.array(column, dtype=np.uint8).reshape(len(columns[-1]), -1) for column in columns]
    return np.concatenate(rows, axis=1).tobytes()


def cifar10(form: str) -> dict[str, bytes]:
    """Five training files of 20 and a test file of 10; label of image i is i % 10."""
    files = {}
    for i, name in enumerate([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]):
        n = 10 if name == "test_batch" else 20
        labels = [k % 10 for k in range(n)]
        if form == "python":
            files[name] = dump({"data": pixels(n, i), "labels": labels, "batch_label": ["x"]})
        else:
            files[f"{name}.bin"] = binary(labels, pixels(n, i))
    if form == "python":
        return files | {"batches.meta": dump({"label_names": TEN})}
    return files | {"batches.meta.txt": ("\n".join(TEN) + "\n\n").encode()}


def cifar100(form: str) -> dict[str, bytes]:
    files = {}
    for i, (name, n) in enumerate([("train", 200), ("test", 100)]):
        fine = [k % 100 for k in range(n)]
        coarse = [k // 5 % 20 for k in fine]
        if form == "python":
            content = {"data": pixels(n, i), "fine_labels": fine, "coarse_labels": coarse}
            files[name] = dump(content)
        else:
            files[f"{name}.bin"] = binary(coarse, fine, pixels(n, i))
    if form == "python":
        return files | {"meta": dump({"fine_label_names": FINE, "coarse_label_names": COARSE})}
    lists = {"fine_label_names.txt": FINE, "coarse_label_names.txt": COARSE}
    return files | {name: "\n".join(names).encode() for name, names in lists.items()}


FOLDERS = {
    ("10", "python"): "cifar-10-batches-py",
    ("10", "binary"): "cifar-10-batches-bin",
    ("100", "python"): "cifar-100-python",
    ("100", "binary"): "cifar-100-binary",
}
ALL = list(FOLDERS)


def write_folder(root: Path, number: str, form: str, **changes: bytes | None) -> Path:
    folder = root / FOLDERS[number, form]
    folder.mkdir(parents=True)
    files = (cifar10 if number == "10" else cifar100)(form)
    for name, content in (files | {"readme.html": b"hello"} | changes).items():
        if content is not None:
            (folder / name).write_bytes(content)
    return folder


def write_archive(root: Path, number: str, form: str) -> Path:
    folder = write_folder(root / "unpacked", number, form)
    archive = root / f"cifar-{number}-{form}.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, folder.name)
    return archive


def refuse(path: Path, message: str, **settings) -> None:
    with pytest.raises(InputError, match=message) as caught:
        load_data(str(path), **settings)
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("number", "form"), ALL)
@pytest.mark.parametrize("how", ["archive", "folder", "parent", "beside"])
def test_every_form_reads_back(number, form, how, tmp_path):
    if how in ("archive", "beside"):
        path = write_archive(tmp_path, number, form)
        path = path if how == "archive" else path.parent
    else:
        path = write_folder(tmp_path, number, form)
        path = path if how == "folder" else path.parent
    data = load_data(str(path), transform="none")
    assert data.name == f"CIFAR-{number}"
    assert data.classes == tuple(TEN if number == "10" else FINE)
    n, seed = (10, 5) if number == "10" else (100, 1)
    assert data.test.labels.tolist() == list(range(n))
    expected = pixels(n, seed).reshape(n, 3, 32, 32)
    np.testing.assert_array_equal(data.test.images.numpy(), expected)
    assert len(data.train) + len(data.validation) == (100 if number == "10" else 200)


@pytest.mark.parametrize("form", ["python", "binary"])
def test_coarse_labels_can_be_chosen(form, tmp_path):
    data = load_data(str(write_folder(tmp_path, "100", form)), label_column="coarse_label")
    assert data.classes == tuple(COARSE)
    assert data.test.labels.tolist() == [k // 5 for k in range(100)]


def test_an_unknown_label_column_is_refused(tmp_path):
    folder = write_folder(tmp_path, "100", "python")
    refuse(folder, "has no 'label'; it has fine_label, coarse_label", label_column="label")


@pytest.mark.parametrize("protocol", range(5))
def test_pickles_of_every_protocol_are_read(protocol, tmp_path):
    content = {"data": pixels(20, 0), "labels": [k % 10 for k in range(20)]}
    folder = write_folder(tmp_path, "10", "python", data_batch_1=pickle.dumps(content, protocol))
    data = load_data(str(folder))
    assert len(data.train) + len(data.validation) == 100


def test_an_array_stored_by_columns_is_not_misread(tmp_path):
    content = dump({"data": np.asfortranarray(pixels(20, 0)), "labels": [0, 1] * 10})
    folder = write_folder(tmp_path, "10", "python", data_batch_1=content)
    refuse(folder, "data_batch_1: is damaged or cut short")


class Harmful:
    def __init__(self, call, *arguments):
        self.call, self.arguments = call, arguments

    def __reduce__(self):
        return self.call, self.arguments


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("call", [os.system, eval, exec, getattr, __import__])
def test_a_pickle_that_would_run_code_is_refused_and_does_not(call, protocol, tmp_path):
    mark = tmp_path / "mark"
    argument = f"touch {mark}" if call is os.system else f"open({str(mark)!r}, 'w')"
    content = pickle.dumps({"data": Harmful(call, argument), "labels": [0]}, protocol)
    folder = write_folder(tmp_path, "10", "python", data_batch_1=content)
    refuse(folder, r"data_batch_1: a pickle that asks for \w+\.\w+, .* it is not opened")
    assert not mark.exists()


def test_the_harmful_pickle_would_have_worked(tmp_path):
    """So that the test above tests something."""
    content = pickle.dumps(Harmful(os.system, f"touch {tmp_path / 'mark'}"), 2)
    pickle.loads(content)
    assert (tmp_path / "mark").exists()


def object_array() -> bytes:
    return dump({"data": np.array([[{}] * 3072], dtype=object), "labels": [0]})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "damaged pickle"),
        (b"hello", "damaged pickle"),
        (cifar10("python")["data_batch_1"][:5000], "damaged pickle"),
        (pickle.dumps([1, 2], 2), "not a CIFAR batch"),
        (dump({"labels": [0]}), "damaged or cut short"),
        (dump({"data": pixels(2, 0), "labels": [0]}), "damaged or cut short"),
        (dump({"data": pixels(1, 0), "labels": ["a"]}), "damaged or cut short"),
        (dump({"data": pixels(1, 0).astype(np.float32), "labels": [0]}), "damaged or cut short"),
        (object_array(), "damaged or cut short"),
        (dump({"data": pixels(1, 0), "labels": [10]}), "label 10 in the train split"),
    ],
)
def test_damaged_batches_are_named(content, message, tmp_path):
    folder = write_folder(tmp_path, "10", "python", data_batch_1=content)
    refuse(folder, message)


@pytest.mark.parametrize("content", [b"", b"x" * 3072, cifar10("binary")["test_batch.bin"][:-1]])
def test_damaged_binary_batches_are_named(content, tmp_path):
    folder = write_folder(tmp_path, "10", "binary", **{"test_batch.bin": content})
    refuse(folder, r"test_batch\.bin: is damaged or cut short; fetch CIFAR-10 again")


def test_a_missing_batch_is_named(tmp_path):
    refuse(write_folder(tmp_path, "10", "python", data_batch_3=None), "data_batch_3 is missing")


def test_a_damaged_archive_is_named(tmp_path):
    archive = write_archive(tmp_path, "10", "binary")
    whole = archive.read_bytes()
    archive.write_bytes(whole[: len(whole) // 2])
    refuse(archive, r"cifar-10-binary\.tar\.gz: a damaged archive")
    archive.write_bytes(b"nothing")
    refuse(archive, r"cifar-10-binary\.tar\.gz: a damaged archive")


def test_an_archive_of_something_else_is_refused(tmp_path):
    archive = tmp_path / "other.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("a.txt"), io.BytesIO())
    refuse(archive, "holds no CIFAR batches")
