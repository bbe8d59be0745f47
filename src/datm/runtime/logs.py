"""What a person sees while a stage runs: a live bar on a terminal, plain lines elsewhere.

A stage is given a Console and calls start, advance ..., finish on it; it never prints. The base
class is silent, so library calls are too unless they are given another.
"""

import logging
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

Figure = float | str

logger = logging.getLogger("datm")


class Console:
    """Shows nothing; keeps the warnings.

    Used as a context manager it also shows what the library logs, and is closed at the end.
    """

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self._relay = _Relay(self)

    def start(self, title: str, total: int, done: int = 0) -> None:
        """Begin a stage of `total` steps, `done` of them already behind it."""

    def advance(self, done: int, **figures: Figure) -> None:
        """`done` steps (counted from the stage's very beginning) are behind, with these figures."""

    def finish(self, summary: str = "") -> None:
        """End the stage."""

    def say(self, text: str) -> None:
        """Show a line."""

    def warn(self, text: str) -> None:
        """Show a line marked as a warning, and keep it."""
        self.warnings.append(text)
        self.say(f"warning: {text}")

    def close(self) -> None:
        """Leave the terminal as it was; also right after an exception."""

    def __enter__(self) -> Self:
        logger.addHandler(self._relay)
        logger.setLevel(logging.INFO)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        logger.removeHandler(self._relay)
        logger.setLevel(logging.NOTSET)
        self.close()


class _Relay(logging.Handler):
    """Hands log records to a console."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        show = self._console.warn if record.levelno >= logging.WARNING else self._console.say
        show(record.getMessage())


QUIET = Console()


class PlainConsole(Console):
    """Plain lines: the first and the last of a stage, and between them one per `interval` s."""

    def __init__(
        self,
        stream: TextIO,
        interval: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self.stream = stream
        self.interval = interval
        self.clock = clock
        self._stage: _Stage | None = None

    def start(self, title: str, total: int, done: int = 0) -> None:
        self._stage = _Stage(title, total, done, self.clock())

    def advance(self, done: int, **figures: Figure) -> None:
        stage = self._stage
        if stage is None:
            raise RuntimeError("advance() before start()")
        now = self.clock()
        due = stage.shown is None or now - stage.shown >= self.interval or done >= stage.total
        if not due:
            return
        stage.shown = now
        self.say(
            "  ".join(part for part in (stage.counted(done), *stage.pace(done, now)) if part)
            + "".join(f"  {text}" for text in _figures(figures))
        )

    def finish(self, summary: str = "") -> None:
        if self._stage is not None and summary:
            self.say(f"{self._stage.title}: {summary}")
        self._stage = None

    def say(self, text: str) -> None:
        print(text, file=self.stream, flush=True)


class LiveConsole(Console):
    """A rich progress bar with figures, rate and time left; lines scroll by above it."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console as RichConsole

        super().__init__()
        self._rich = RichConsole(file=stream, highlight=False, markup=False, soft_wrap=True)
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._stage: _Stage | None = None
        self._figures: dict[str, Figure] = {}

    def start(self, title: str, total: int, done: int = 0) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
        from rich.table import Column

        self.close()
        self._stage = _Stage(title, total, done, time.monotonic())
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None, table_column=Column(ratio=1, max_width=40)),
            MofNCompleteColumn(),
            TextColumn("{task.fields[pace]}", markup=False),
            TextColumn("{task.fields[figures]}", markup=False),
            console=self._rich,
        )
        self._task = self._progress.add_task(
            title, total=total, completed=done, pace="", figures=""
        )
        self._progress.start()

    def advance(self, done: int, **figures: Figure) -> None:
        if self._progress is None or self._task is None or self._stage is None:
            raise RuntimeError("advance() before start()")
        self._figures.update(figures)  # a figure that comes rarely stays in sight
        self._progress.update(
            self._task,
            completed=done,
            pace="  ".join(self._stage.pace(done, time.monotonic())),
            figures="  ".join(_figures(self._figures)),
        )

    def finish(self, summary: str = "") -> None:
        title = self._stage.title if self._stage else ""
        self.close()
        if title and summary:
            self.say(f"{title}: {summary}")

    def say(self, text: str) -> None:
        self._rich.print(text)

    def close(self) -> None:
        if self._progress is not None:
            self._progress.stop()
        self._progress = self._task = self._stage = None
        self._figures = {}


def make_console(stream: TextIO | None = None) -> Console:
    """A live console where `stream` (default: stdout) is a terminal, a plain one elsewhere."""
    stream = sys.stdout if stream is None else stream
    return LiveConsole(stream) if stream.isatty() else PlainConsole(stream)


class _Stage:
    """One stage's title and count, and the pace since it began."""

    def __init__(self, title: str, total: int, done: int, now: float) -> None:
        self.title = title
        self.total = total
        self.began_at = done
        self.began = now
        self.shown: float | None = None

    def counted(self, done: int) -> str:
        return f"{self.title}: {done}/{self.total}"

    def pace(self, done: int, now: float) -> tuple[str, str]:
        """Rate and time left, as text; empty until something is known."""
        steps, seconds = done - self.began_at, now - self.began
        if steps <= 0 or seconds <= 0:
            return "", ""
        rate = steps / seconds
        shown = f"{rate:.3g}/s" if rate >= 1 else f"{1 / rate:.3g} s each"
        left = max(self.total - done, 0) / rate
        return shown, f"{duration(left)} left" if left else ""


def duration(seconds: float) -> str:
    """Seconds as a person says them: '8 s', '3 min 20 s', '2 h 05 min'."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _figures(figures: dict[str, Figure]) -> list[str]:
    """'step size 0.0123' for step_size=0.01234."""
    return [
        f"{name.replace('_', ' ')} {value if isinstance(value, str) else format(value, '.4g')}"
        for name, value in figures.items()
    ]
