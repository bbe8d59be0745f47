"""Parquet files in the Hub's layout, in a folder.

    root/train-00000-of-00002.parquet  root/test-00000-of-00001.parquet   (or root/data/..., or in
    root/train/0000.parquet            root/test/0000.parquet              one folder of any name)

The Hub's own description of the columns is taken from the files' metadata where they have it.
"""

import json
import re
from pathlib import Path
from typing import Any

from datm.data.config import DataConfig
from datm.data.raw import SPLIT_NAMES, RawSplits, SplitName, reason
from datm.data.sources.tables import Table, find_columns, read_tables
from datm.errors import InputError

# Not **: a folder of a million images is not walked to its leaves in search of Parquet.
PLACES = ("*.parquet", "*/*.parquet", *(f"*/{split}/*.parquet" for split in SPLIT_NAMES))


def accepts(path: Path) -> bool:
    return path.suffix == ".parquet" or (
        path.is_dir() and any(any(path.glob(place)) for place in PLACES)
    )


def read(root: Path, config: DataConfig) -> RawSplits:
    """Every image of the folder, still encoded. Raises InputError where it cannot be read."""
    if not root.is_dir():
        raise InputError(f"{root}: is one file; give the folder with its train and test files.")
    notes: list[str] = []
    files = _files_by_split(root, notes)
    if "train" not in files:
        raise InputError(
            f"{root}: has no train Parquet file; name them train-*.parquet and test-*.parquet."
        )
    first = _open(files["train"][0])
    columns = find_columns(
        first.schema_arrow,
        _features(first.schema_arrow),
        config.label_column,
        str(files["train"][0]),
    )
    wanted = [columns.image, columns.label]
    tables: dict[SplitName, list[Table]] = {
        split: [Table(str(file), _read(file, wanted)) for file in paths]
        for split, paths in files.items()
    }
    return read_tables(root.resolve().name, tables, columns, notes)


def _files_by_split(root: Path, notes: list[str]) -> dict[SplitName, list[Path]]:
    """The files of each split, from the one folder that has them."""
    homes: dict[Path, dict[SplitName, list[Path]]] = {}
    ignored = []
    for file in sorted({file for place in PLACES for file in root.glob(place)}):
        split, home = _split_of(file.stem), file.parent
        if split is None and file.parent != root:
            split, home = _split_of(file.parent.name), file.parent.parent
        if split is None:
            ignored.append(file)
        else:
            homes.setdefault(home, {}).setdefault(split, []).append(file)
    if len(homes) > 1:
        found = ", ".join(str(home) for home in sorted(homes))
        raise InputError(f"{root}: has Parquet files of several data sets; give one of {found}.")
    if not homes:
        raise InputError(
            f"{root}: no Parquet file is named after a split; name them train-*.parquet and "
            "test-*.parquet."
        )
    if ignored:
        notes.append(
            f"{root}: {len(ignored)} Parquet file(s) of no known split ignored ({ignored[0].name})."
        )
    return homes.popitem()[1]


def _split_of(name: str) -> SplitName | None:
    return SPLIT_NAMES.get(re.split(r"[-_.]", name.lower())[0])


def _open(file: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(file)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(file, error) from error


def _read(file: Path, columns: list[str]) -> Any:
    import pyarrow as pa

    opened = _open(file)
    present = [column for column in columns if column in opened.schema_arrow.names]
    try:
        return opened.read(columns=present)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(file, error) from error


def _unreadable(file: Path, error: Exception) -> InputError:
    return InputError(f"{file}: not a readable Parquet file ({reason(error)}); fetch it again.")


def _features(schema: Any) -> dict[str, Any]:
    """The Hub's description of the columns, {} where the file has none."""
    text = (schema.metadata or {}).get(b"huggingface")
    try:
        features = json.loads(text)["info"]["features"] if text else {}
    except (ValueError, KeyError, TypeError):
        return {}  # written by something else under the same key: the types decide
    return features if isinstance(features, dict) else {}
