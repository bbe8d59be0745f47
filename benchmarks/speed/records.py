"""The records of a benchmark run: one JSON line each, appended as the cases end."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datm.errors import InputError
from datm.runtime.files import read_json_lines

MUST_AGREE = ("cpu", "gpus", "cores", "threads", "device")


class Records:
    """The lines of `path`: a header first, then a record for each case, the newest one counting.

    An existing file is continued. Raises InputError if its header is of other hardware, torch or
    settings than `header`, for its figures could not stand in one table with new ones.
    """

    def __init__(self, path: Path, header: dict[str, Any]) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        first, *rest = read_json_lines(path) or [header]
        differing = _differing(first, header)
        if differing:
            raise InputError(
                f"{path}: was measured with other {', '.join(differing)};"
                " give another output, or remove the file."
            )
        self.header = first
        self.by_name: dict[str, dict[str, Any]] = {record["name"]: record for record in rest}
        # Written anew, so that a last line cut in half is gone.
        path.write_text("".join(_line(record) for record in (first, *rest)))

    def measured(self, name: str) -> bool:
        """Whether a case has its figures; one that was skipped or failed may be tried again."""
        record = self.by_name.get(name, {"failed": "never tried"})
        return "skipped" not in record and "failed" not in record

    def append(self, record: dict[str, Any]) -> None:
        self.by_name[record["name"]] = record
        with self.path.open("a") as file:
            file.write(_line(record))


def _differing(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """The names of what two headers disagree in."""
    here, there = ours["environment"], theirs["environment"]
    found = [name for name in MUST_AGREE if here[name] != there[name]]
    if here["versions"]["torch"] != there["versions"]["torch"]:
        found.append("torch")
    if here["commit"] != there["commit"]:
        found.append("commit")
    return found


def _line(record: Mapping[str, Any]) -> str:
    return json.dumps(record) + "\n"
