"""A data set on the Hugging Face Hub, by name: owner/name or owner/name:config.

Needs the optional package `datasets`, which downloads once and keeps a cache.
"""

import re
from typing import Any

from datm.data.config import DataConfig
from datm.data.raw import SPLIT_NAMES, RawSplits, SplitName, reason
from datm.data.sources.tables import Table, find_columns, read_tables
from datm.errors import InputError


def read(name: str, config: DataConfig) -> RawSplits:
    """Every image of the data set, still encoded. Raises InputError where it cannot be had."""
    match = re.fullmatch(r"([\w.-]+(?:/[\w.-]+)?)(?::([\w.-]+))?", name)
    if match is None:
        raise InputError(
            f"data.source: 'hub:{name}' is no Hub name; write hub:owner/name or "
            "hub:owner/name:config."
        )
    loaded = _download(match[1], match[2])
    notes: list[str] = []
    parts: dict[SplitName, Any] = {}
    for key, part in loaded.items():
        split = SPLIT_NAMES.get(key.lower())
        if split is None or split in parts:
            notes.append(f"hub:{name}: split {key!r} is not used.")
        else:
            parts[split] = part
    if "train" not in parts:
        found = ", ".join(loaded) or "none"
        raise InputError(f"hub:{name}: has no train split (found: {found}); choose another.")
    train = parts["train"]
    columns = find_columns(
        train.data.schema, train.features.to_dict(), config.label_column, f"hub:{name}"
    )
    tables: dict[SplitName, list[Table]] = {
        split: [Table(f"hub:{name}, {split} split", part.with_format("arrow")[:])]
        for split, part in parts.items()
    }
    return read_tables(name, tables, columns, notes, follow_paths=True)


def _download(name: str, subset: str | None) -> dict[str, Any]:
    try:
        import datasets
    except ImportError as error:
        raise InputError(
            f"data.source: 'hub:{name}' needs the package datasets, which is not installed; "
            "run pip install 'datm[hub]'."
        ) from error
    try:
        return dict(datasets.load_dataset(name, subset))
    # Whatever went wrong (network, name, config, licence gate, disk), each in its own type of the
    # libraries below: for the user it is one thing, and the reason is in the message.
    except Exception as error:
        raise InputError(
            f"data.source: 'hub:{name}' could not be loaded ({reason(error)}); check the name "
            "and the network, or give a folder with its Parquet files."
        ) from error
