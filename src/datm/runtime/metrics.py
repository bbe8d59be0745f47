"""The figures of a run as it goes: metrics.jsonl, and TensorBoard events beside it."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datm.runtime.files import JsonLines
from datm.runtime.logs import QUIET, Console

_said_missing = False


class Metrics:
    """Records by iteration, in a JSON-lines file and in the folder `tensorboard` beside it.

    A run that continues from `iteration` drops what was recorded after it; None starts anew.
    TensorBoard is optional: where it is not installed, that is said once.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        iteration: int | None = None,
        console: Console = QUIET,
    ) -> None:
        self._lines = JsonLines(path, iteration)
        self._events = _events(Path(path).parent / "tensorboard", iteration, console)

    def append(self, record: Mapping[str, Any]) -> None:
        """Write `record`; its numbers become TensorBoard curves over record["iteration"]."""
        self._lines.append(record)
        if self._events is None or "iteration" not in record:
            return
        for name, value in record.items():
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if number and name != "iteration":
                self._events.add_scalar(name, value, record["iteration"])

    def close(self) -> None:
        self._lines.close()
        if self._events is not None:
            self._events.close()


def _events(folder: Path, iteration: int | None, console: Console) -> Any:
    """A TensorBoard writer into `folder`, or None where TensorBoard is not installed."""
    global _said_missing
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        if not _said_missing:
            console.say(
                "TensorBoard is not installed, so figures go to metrics.jsonl alone "
                "(pip install 'datm[tensorboard]' adds its curves)."
            )
            _said_missing = True
        return None
    # steps from here on are about to be made again, so TensorBoard hides their first version
    return SummaryWriter(folder, purge_step=0 if iteration is None else iteration + 1)
