"""What the consoles print."""

import io
import logging

import pytest

from datm.runtime.logs import (
    QUIET,
    Console,
    LiveConsole,
    PlainConsole,
    duration,
    make_console,
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_plain_lines_first_last_and_one_per_interval() -> None:
    now = [0.0]
    stream = io.StringIO()
    console = PlainConsole(stream, interval=10, clock=lambda: now[0])
    console.start("distil", total=100)
    for done in range(1, 101):
        now[0] += 1.0
        console.advance(done, loss=1 / done, step_size=0.0123456)
    console.finish("best 0.8")
    lines = stream.getvalue().splitlines()
    assert [line.split()[1] for line in lines[:-1]] == [
        f"{n}/100" for n in (1, 11, 21, 31, 41, 51, 61, 71, 81, 91, 100)
    ]
    assert lines[1] == "distil: 11/100  1/s  1 min 29 s left  loss 0.09091  step size 0.01235"
    assert lines[-1] == "distil: best 0.8"


def test_rate_counts_only_what_was_done_now() -> None:
    now = [0.0]
    stream = io.StringIO()
    console = PlainConsole(stream, clock=lambda: now[0])
    console.start("teach", total=20, done=10)
    now[0] = 4.0
    console.advance(12)
    assert stream.getvalue() == "teach: 12/20  2 s each  16 s left\n"


def test_every_console_keeps_warnings() -> None:
    stream = io.StringIO()
    for console in (Console(), PlainConsole(stream), LiveConsole(stream)):
        console.warn("few images")
        assert console.warnings == ["few images"]
    assert stream.getvalue() == "warning: few images\n" * 2


def test_quiet_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with QUIET as console:
        console.start("a", 2)
        console.advance(1, loss=1.0)
        console.say("b")
        console.finish("c")
    assert capsys.readouterr() == ("", "")


def test_console_by_stream() -> None:
    assert isinstance(make_console(Terminal()), LiveConsole)
    assert isinstance(make_console(io.StringIO()), PlainConsole)


def test_live_bar_shows_figures_and_lines_verbatim(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    with LiveConsole(stream) as console:
        console.start("distil [1]", total=4)
        console.advance(1, loss=0.75)
        console.say("a [bold]line[/bold]")
        console.advance(4, rate="high")
        console.finish("done")
    text = stream.getvalue()
    for part in (
        "distil [1]",
        "4/4",
        "loss 0.75  rate high",
        "a [bold]line[/bold]",
        "distil [1]: done",
    ):
        assert part in text


def test_live_bar_restores_the_cursor_after_an_exception(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()

    def interrupted() -> None:
        with LiveConsole(stream) as console:
            console.start("distil", total=4)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    text = stream.getvalue()
    assert text.rfind("\x1b[?25h") > text.rfind("\x1b[?25l") >= 0


def test_advance_needs_start() -> None:
    for console in (PlainConsole(io.StringIO()), LiveConsole(io.StringIO())):
        with pytest.raises(RuntimeError, match="before start"):
            console.advance(1)


@pytest.mark.parametrize(
    ("seconds", "text"), [(8.4, "8 s"), (61, "1 min 01 s"), (7500, "2 h 05 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_console_shows_what_the_library_logs_while_it_is_open() -> None:
    stream = io.StringIO()
    library = logging.getLogger("datm")
    with PlainConsole(stream) as console:
        library.info("compiling")
        library.warning("no compiler")
        library.debug("not for people")
    library.warning("too late")
    assert stream.getvalue() == "compiling\nwarning: no compiler\n"
    assert console.warnings == ["no compiler"]
