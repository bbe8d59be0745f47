"""Files on disk: atomic writes, JSON, safetensors, folders that can be written.

A reader never meets half a file: everything is written beside its place, flushed and renamed into
it. What is read comes from outside, so a broken file is an InputError that names it.
"""

import glob
import json
import math
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from datm.errors import InputError


def atomic_write(path: str | os.PathLike[str], content: bytes | str) -> None:
    """Put `content` (text as UTF-8) at `path`, whole or not at all; folders are made as needed."""
    data = content.encode() if isinstance(content, str) else content

    def write(temporary: Path) -> None:
        temporary.write_bytes(data)

    _replace(Path(path), write)


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write `value` as indented JSON, atomically. NaN and infinities become null: JSON has none."""
    text = json.dumps(_finite(value), indent=1, ensure_ascii=False, allow_nan=False)
    atomic_write(path, text + "\n")


def read_json(path: str | os.PathLike[str]) -> Any:
    """The value in a JSON file. Raises InputError where it is missing, unreadable or no JSON."""
    try:
        return json.loads(_read(Path(path)))
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path}: is not valid JSON ({error.msg}, line {error.lineno}); "
            "restore the file or remove it to make it again."
        ) from error


def save_tensors(
    path: str | os.PathLike[str],
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write named tensors as safetensors, atomically, from whatever device they are on."""
    from safetensors.torch import save_file

    plain: dict[str, Tensor] = {}
    storages: set[int] = set()
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().contiguous()
        # safetensors refuses tensors that share a storage, so views get one of their own
        address = tensor.untyped_storage().data_ptr()
        if address in storages or tensor.untyped_storage().nbytes() != tensor.nbytes:
            tensor = tensor.clone()
        storages.add(tensor.untyped_storage().data_ptr())
        plain[name] = tensor

    def write(temporary: Path) -> None:
        save_file(plain, temporary, dict(metadata) if metadata else None)

    _replace(Path(path), write)


def load_tensors(path: str | os.PathLike[str], device: str = "cpu") -> dict[str, Tensor]:
    """All tensors of a safetensors file. Raises InputError where it is missing or broken."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not Path(path).is_file():
        raise InputError(f"{path}: there is no such file; check the path.")
    try:
        return load_file(path, device=device)
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"{path}: is not a readable safetensors file ({_line(error)}); "
            "restore the file or remove it to make it again."
        ) from error


def writable_folder(path: str | os.PathLike[str]) -> Path:
    """The folder at `path`, made if need be. Raises InputError where nothing can be written.

    Tried by writing, not read off the permission bits: those say nothing of a read-only file
    system, and root passes them all.
    """
    folder = Path(path)
    for place in (folder, *folder.parents):
        if place.exists() and not place.is_dir():
            raise InputError(
                f"{folder}: cannot be a folder, because {place} is a file; choose another place."
            )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be written ({error.strerror or error}); choose another place."
        ) from error
    return folder


class JsonLines:
    """Appends records to a file, one JSON object a line, each flushed as it is written.

    A run that continues from `iteration` drops the lines after it first: it will make them again.
    Records without an "iteration" stay. None starts the file anew.
    """

    def __init__(self, path: str | os.PathLike[str], iteration: int | None = None) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        kept = [] if iteration is None else read_json_lines(self.path, iteration)
        atomic_write(self.path, "".join(_json_line(record) for record in kept))
        self._file = self.path.open("a", encoding="utf-8")

    def append(self, record: Mapping[str, Any]) -> None:
        self._file.write(_json_line(record))
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def read_json_lines(
    path: str | os.PathLike[str], iteration: int | None = None
) -> list[dict[str, Any]]:
    """The records of a JSON-lines file, up to and with `iteration`; none where there is no file.

    A last line that a killed process left half written is skipped.
    """
    if not Path(path).exists():
        return []
    records: list[dict[str, Any]] = []
    lines = _read(Path(path)).splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            if number == len(lines):
                break
            raise InputError(
                f"{path}: line {number} is not valid JSON ({error.msg}); mend or remove the line."
            ) from error
        if iteration is None or record.get("iteration", 0) <= iteration:
            records.append(record)
    return records


def _replace(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a file beside `path`, flush it to disk and rename it to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):  # by a killed process
        left.unlink(missing_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.touch()
        mode = temporary.stat().st_mode  # what the user's umask gives; safetensors makes 0600
        write(temporary)
        temporary.chmod(mode)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file; check the path.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: cannot be read as text ({_line(error)}); check the path."
        ) from error


def _json_line(record: Mapping[str, Any]) -> str:
    return json.dumps(_finite(record), ensure_ascii=False, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    """`value` with every float that JSON cannot say replaced by None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def _line(error: Exception) -> str:
    """The error's text on one line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()).rstrip(".")
