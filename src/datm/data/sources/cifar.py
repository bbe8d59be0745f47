"""The original CIFAR-10 and CIFAR-100 (Krizhevsky 2009): the archive or its folder, either form.

The "python" form is pickled. A pickle can run code, so it is read by an unpickler that builds
nothing but inert records: dictionaries, lists, numbers, text, and arrays as shape and bytes.
"""

import io
import pickle
import tarfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from torch import Tensor

from datm.data.config import DataConfig
from datm.data.raw import RawSplit, RawSplits, reason
from datm.errors import InputError

SHAPE = (3, 32, 32)
PIXELS = 3 * 32 * 32


@dataclass(frozen=True)
class Form:
    """One published form: its files, and for each kind of label where it and its names are."""

    name: str
    folder: str
    train: tuple[str, ...]
    test: str
    labels: dict[str, tuple[str, str, str]]  # label column: (key or byte, file of names, key there)
    label_bytes: int = 0  # binary: ahead of each image; 0: pickled

    @property
    def files(self) -> set[str]:
        return {*self.train, self.test, *(names for _, names, _ in self.labels.values())}


FORMS = (
    Form(
        "CIFAR-10",
        "cifar-10-batches-py",
        tuple(f"data_batch_{i}" for i in range(1, 6)),
        "test_batch",
        {"label": ("labels", "batches.meta", "label_names")},
    ),
    Form(
        "CIFAR-10",
        "cifar-10-batches-bin",
        tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
        "test_batch.bin",
        {"label": ("0", "batches.meta.txt", "")},
        label_bytes=1,
    ),
    Form(
        "CIFAR-100",
        "cifar-100-python",
        ("train",),
        "test",
        {
            "fine_label": ("fine_labels", "meta", "fine_label_names"),
            "coarse_label": ("coarse_labels", "meta", "coarse_label_names"),
        },
    ),
    Form(
        "CIFAR-100",
        "cifar-100-binary",
        ("train.bin",),
        "test.bin",
        {
            "fine_label": ("1", "fine_label_names.txt", ""),
            "coarse_label": ("0", "coarse_label_names.txt", ""),
        },
        label_bytes=2,
    ),
)
ARCHIVES = {
    *("cifar-10-python.tar.gz", "cifar-10-binary.tar.gz"),
    *("cifar-100-python.tar.gz", "cifar-100-binary.tar.gz"),
}


def accepts(path: Path) -> bool:
    if path.is_file():
        return path.name in ARCHIVES or ".tar" in path.suffixes or path.suffix in (".tgz", ".gz")
    return _inside(path) is not None


def read(path: Path, config: DataConfig) -> RawSplits:
    """The whole data set, decoded. Raises InputError where a file is missing, damaged or unsafe."""
    where = path if path.is_file() else _inside(path)
    assert where is not None  # accepts() came first
    files = _from_archive(where) if where.is_file() else _from_folder(where)
    form = _form(set(files))
    if form is None:
        raise InputError(f"{where}: holds no CIFAR batches; give the archive as published.")
    missing = form.files - files.keys()
    if missing:
        raise InputError(f"{where}: {min(missing)} is missing; fetch {form.name} again.")
    columns = list(form.labels)
    column = config.label_column or columns[0]
    if column not in columns:
        raise InputError(
            f"data.label_column: {form.name} has no {column!r}; it has {', '.join(columns)}."
        )
    classes = _class_names(form, column, files, where)
    train = [_batch(form, column, name, files, where) for name in form.train]
    images, labels = (torch.cat(parts) for parts in zip(*train, strict=True))
    test = RawSplit(*_batch(form, column, form.test, files, where))
    return RawSplits(form.name, classes, RawSplit(images, labels), test=test)


def _form(names: set[str]) -> Form | None:
    """Which form a folder or archive with these file names is, if any."""
    # Half of a form's files identify it, so that a missing one can be named.
    return next((form for form in FORMS if len(form.files & names) * 2 > len(form.files)), None)


def _inside(folder: Path) -> Path | None:
    """The folder itself, the batches folder in it, or the archive in it; None if there is none."""
    if not folder.is_dir():
        return None
    if _form({file.name for file in folder.iterdir() if file.is_file()}):
        return folder
    names = [form.folder for form in FORMS] + sorted(ARCHIVES)
    return next((folder / name for name in names if (folder / name).exists()), None)


def _from_folder(folder: Path) -> dict[str, bytes]:
    wanted = set().union(*(form.files for form in FORMS))
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.name in wanted}


def _from_archive(archive: Path) -> dict[str, bytes]:
    """The wanted files' contents by bare name; nothing is unpacked to disk."""
    wanted = set().union(*(form.files for form in FORMS))
    found = {}
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                name = PurePosixPath(member.name).name
                if member.isfile() and name in wanted:
                    content = tar.extractfile(member)
                    assert content is not None  # true of every regular file
                    found[name] = content.read()
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise InputError(
            f"{archive}: a damaged archive ({reason(error)}); fetch it again."
        ) from error
    return found


def _class_names(form: Form, column: str, files: dict[str, bytes], where: Path) -> tuple[str, ...]:
    _, name, key = form.labels[column]
    if form.label_bytes:
        return tuple(files[name].decode("ascii", "replace").split())
    names = _unpickle(files[name], where / name).get(key)
    if not isinstance(names, list):
        raise InputError(f"{where / name}: has no {key!r}; fetch {form.name} again.")
    return tuple(_text(item) for item in names)


def _batch(
    form: Form, column: str, name: str, files: dict[str, bytes], where: Path
) -> tuple[Tensor, Tensor]:
    """Images [n, 3, 32, 32] uint8 and labels [n] int64 of one file."""
    key = form.labels[column][0]
    damaged = InputError(f"{where / name}: is damaged or cut short; fetch {form.name} again.")
    if form.label_bytes:
        if not files[name] or len(files[name]) % (form.label_bytes + PIXELS):
            raise damaged
        rows = np.frombuffer(files[name], np.uint8).reshape(-1, form.label_bytes + PIXELS)
        pixels, labels = rows[:, form.label_bytes :], rows[:, int(key)].tolist()
    else:
        content = _unpickle(files[name], where / name)
        array, labels = content.get("data"), content.get(key)
        if not isinstance(array, _Array) or not isinstance(labels, list):
            raise damaged
        flat = np.frombuffer(array.content, np.uint8)
        if array.dtype != "u1" or flat.size != len(labels) * PIXELS:
            raise damaged
        if not all(isinstance(label, int) for label in labels):
            raise damaged
        pixels = flat.reshape(-1, PIXELS)
    return torch.from_numpy(pixels.copy()).view(-1, *SHAPE), torch.tensor(labels)


def _unpickle(content: bytes, where: Path) -> dict[str, Any]:
    try:
        loaded = _Unpickler(io.BytesIO(content), encoding="bytes").load()
    except _Unsafe as error:
        raise InputError(
            f"{where}: a pickle that asks for {error}, which no CIFAR file does; it is not opened."
        ) from error
    # A damaged pickle fails in many ways (any opcode on any stack); all mean the same.
    except Exception as error:
        raise InputError(f"{where}: a damaged pickle ({reason(error)}); fetch it again.") from error
    if not isinstance(loaded, dict):
        raise InputError(f"{where}: not a CIFAR batch; fetch it again.")
    return {_text(key): value for key, value in loaded.items()}


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


class _Unsafe(pickle.UnpicklingError):
    """The pickle names something other than what an array of numbers is made of."""


class _Array:
    """Stands in for numpy.ndarray: keeps what was pickled, builds nothing."""

    content: bytes = b""
    dtype: str = ""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, _, dtype, fortran, content = state
        if isinstance(content, bytes) and isinstance(dtype, _DType) and not fortran:
            self.content, self.dtype = content, dtype.name


class _DType:
    """Stands in for numpy.dtype: keeps its name."""

    def __init__(self, name: object, *_: object) -> None:
        self.name = _text(name)

    def __setstate__(self, state: object) -> None:
        pass


def _reconstruct(*_: object) -> _Array:
    return _Array()


def _encode(text: str, _: str) -> bytes:
    return text.encode("latin1")  # how protocol 2 writes bytes under Python 3


class _Unpickler(pickle.Unpickler):
    """Knows the names that pickled arrays need, as stand-ins of its own; refuses all others."""

    KNOWN: dict[tuple[str, str], Callable[..., Any]] = {  # noqa: RUF012 - never written to
        ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
        ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
        ("numpy", "ndarray"): _Array,
        ("numpy", "dtype"): _DType,
        ("_codecs", "encode"): _encode,
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.KNOWN:
            raise _Unsafe(f"{module}.{name}")
        return self.KNOWN[module, name]
