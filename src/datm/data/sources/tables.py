"""Arrow tables with a column of images and a column of classes, as the Hub and Parquet have them.

`features` is the Hub's description of the columns, {"img": {"_type": "Image"}, "label": {"_type":
"ClassLabel", "names": [...]}}; it may be empty, then the columns' types decide.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from datm.data.raw import EncodedImage, RawSplit, RawSplits, SplitName
from datm.errors import InputError

IMAGE_NAMES = ("image", "img", "pixels")
LABEL_NAMES = ("label", "labels", "fine_label", "class", "target", "y")


@dataclass(frozen=True)
class Table:
    """One file or split: an Arrow table and what a message calls it."""

    name: str
    arrow: Any


@dataclass(frozen=True)
class Columns:
    image: str
    label: str
    names: tuple[str, ...] | None
    notes: tuple[str, ...]


def find_columns(schema: Any, features: dict[str, Any], label: str | None, where: str) -> Columns:
    """Which columns hold images and classes. Raises InputError where there are none, or several."""
    images = _image_columns(schema, features)
    if not images:
        raise InputError(
            f"{where}: no image column among {', '.join(schema.names)}; one must be a struct "
            "with bytes, as the Hub writes images."
        )
    image = next((name for name in IMAGE_NAMES if name in images), images[0])
    chosen, candidates = _label_column(schema, features, label, where)
    notes = []
    if len(images) > 1:
        notes.append(f"{where}: images are those of column {image!r}, of {', '.join(images)}.")
    if label is None and len(candidates) > 1:
        notes.append(
            f"{where}: classes are those of column {chosen!r}, of {', '.join(candidates)} "
            "(data.label_column chooses)."
        )
    return Columns(image, chosen, _class_names(features.get(chosen)), tuple(notes))


def read_tables(
    name: str,
    tables: dict[SplitName, list[Table]],
    columns: Columns,
    notes: list[str],
    follow_paths: bool = False,
) -> RawSplits:
    """The splits of a data set from its tables. `follow_paths`: images may be paths, not bytes."""
    values = {
        split: [value for table in parts for value in _label_values(table, columns.label)]
        for split, parts in tables.items()
    }
    if values.get("test") and set(values["test"]) == {-1}:
        notes.append("The test split has no labels (all are -1), so it is not used.")
        tables = {split: parts for split, parts in tables.items() if split != "test"}
    names = columns.names or _names_from(values["train"])
    splits: dict[SplitName, RawSplit] = {}
    for split, parts in tables.items():
        images = [image for table in parts for image in _images(table, columns.image, follow_paths)]
        splits[split] = RawSplit(images, _numbers(values[split], names, f"{name}, {split} split"))
    notes.extend(columns.notes)
    return RawSplits(
        name, names, splits["train"], splits.get("validation"), splits.get("test"), tuple(notes)
    )


def _image_columns(schema: Any, features: dict[str, Any]) -> list[str]:
    import pyarrow as pa

    described = [name for name in schema.names if _type(features.get(name)) == "Image"]
    if described:
        return described

    def holds_bytes(kind: Any) -> bool:
        return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))

    found = []
    for column in schema:
        kind = column.type
        inside = pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0
        if holds_bytes(kind) or (inside and holds_bytes(kind.field("bytes").type)):
            found.append(column.name)
    return found


def _label_column(
    schema: Any, features: dict[str, Any], label: str | None, where: str
) -> tuple[str, list[str]]:
    """The column of classes and all that could have been it."""
    import pyarrow as pa

    if label is not None:
        if label not in schema.names:
            raise InputError(
                f"data.label_column: {label!r} is not in {where}, which has "
                f"{', '.join(schema.names)}; name one of those."
            )
        return label, [label]
    candidates = [name for name in schema.names if _type(features.get(name)) == "ClassLabel"]
    candidates = candidates or [
        column.name
        for column in schema
        if pa.types.is_integer(column.type) or column.name in LABEL_NAMES
    ]
    for name in LABEL_NAMES:
        if name in candidates:
            return name, candidates
    if len(candidates) != 1:
        raise InputError(
            f"{where}: {'several columns' if candidates else 'no column'} could be the label, of "
            f"{', '.join(schema.names)}; name it with data.label_column."
        )
    return candidates[0], candidates


def _type(feature: Any) -> str | None:
    return feature.get("_type") if isinstance(feature, dict) else None


def _class_names(feature: Any) -> tuple[str, ...] | None:
    if _type(feature) != "ClassLabel" or not feature.get("names"):
        return None
    names = feature["names"]
    ordered = names if isinstance(names, list) else [names[key] for key in sorted(names, key=int)]
    return tuple(str(name) for name in ordered)


def _label_values(table: Table, column: str) -> list[Any]:
    """The column's values: all whole numbers, or all text. Raises InputError for anything else."""
    import pyarrow as pa

    if column not in table.arrow.schema.names:
        raise InputError(
            f"{table.name}: has no column {column!r}, though the first training file has; "
            "all files need the same columns."
        )
    array = table.arrow.column(column)
    if array.null_count:
        raise InputError(f"{table.name}: column {column!r} has {array.null_count} empty labels.")
    kind = array.type.value_type if pa.types.is_dictionary(array.type) else array.type
    whole = pa.types.is_integer(kind) or pa.types.is_boolean(kind)
    if not (whole or pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise InputError(
            f"{table.name}: column {column!r} holds {kind}, but class numbers are whole numbers "
            "(or class names); name another with data.label_column."
        )
    values = array.to_pylist()
    return [int(value) for value in values] if whole else values


def _names_from(values: list[Any]) -> tuple[str, ...]:
    """Class names where the source has none: the texts themselves, or 0 .. the largest number."""
    if any(isinstance(value, str) for value in values):
        return tuple(sorted({str(value) for value in values}))
    return tuple(str(k) for k in range(max((int(value) for value in values), default=-1) + 1))


def _numbers(values: list[Any], names: tuple[str, ...], where: str) -> Tensor:
    """Class numbers [n] int64. Raises InputError for a label that is none of `names`."""
    index = {name: k for k, name in enumerate(names)}
    numbers = []
    for row, value in enumerate(values):
        number = index.get(value, -1) if isinstance(value, str) else value
        if not 0 <= number < len(names):
            raise InputError(
                f"{where}: label {value!r} at row {row} is none of the {len(names)} training "
                "classes; mend it or leave the row out."
            )
        numbers.append(number)
    return torch.tensor(numbers, dtype=torch.int64)


def _images(table: Table, column: str, follow_paths: bool) -> list[EncodedImage]:
    import pyarrow as pa

    if column not in table.arrow.schema.names:
        raise InputError(f"{table.name}: has no image column {column!r}, as the first file has.")
    images = []
    for row, value in enumerate(_rows(table.arrow.column(column), pa)):
        data, path = value if isinstance(value, tuple) else (value, None)
        if data is None and path and follow_paths:
            data = Path(path)
        if data is None:
            raise InputError(
                f"{table.name}: row {row} has no image bytes in column {column!r}; write the file "
                "again with the images inside."
            )
        images.append(EncodedImage(f"{table.name}, row {row}", data))
    return images


def _rows(column: Any, pa: Any) -> list[Any]:
    """A struct column as (bytes, path) pairs, a binary one as bytes."""
    if not pa.types.is_struct(column.type):
        return list(column.to_pylist())
    pairs: list[Any] = []
    for chunk in column.chunks:
        data = chunk.field("bytes").to_pylist()
        has_path = chunk.type.get_field_index("path") >= 0
        paths = chunk.field("path").to_pylist() if has_path else [None] * len(data)
        pairs += zip(data, paths, strict=True)
    return pairs
