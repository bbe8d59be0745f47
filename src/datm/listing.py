"""What the command line prints of recipes and results, as text."""

import shutil
import textwrap
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from datm.reporting.tables import results_table
from datm.reporting.verdict import verdict
from datm.runtime.files import read_json

if TYPE_CHECKING:
    from datm.recipes import Entry

WIDTH = 100
HEAD = ("recipe", "published %", "measured %", "settings; what differs")


def recipes_table(part: str = "") -> str:
    """The recipes whose name or source contains `part`, below their sources.

    As wide as the terminal, and WIDTH where it is narrower or none; what is longer goes on in the
    last column of the next line. Raises InputError where nothing contains `part`.
    """
    from datm.recipes import RECIPES, recipe

    sought = part.lower()
    found = {n: e for n, e in RECIPES.items() if sought in n or sought in e.source.lower()}
    if not found:
        recipe(part)  # raises, with the nearest name
    rows = {
        name: (
            f"  {name}",
            entry.published or "-",
            entry.measured or "-",
            _joined(entry.settings, entry.differs),
        )
        for name, entry in found.items()
    }
    width = max(WIDTH, shutil.get_terminal_size((WIDTH, 0)).columns)
    widths = [max(map(len, column)) for column in zip(HEAD, *rows.values(), strict=True)]
    widths[-1] = min(widths[-1], width - sum(widths[:-1]) - 2 * len(widths[:-1]))
    lines = [*_lines(HEAD, widths), "  ".join("─" * width for width in widths)]
    for source, names in groupby(found, lambda name: _source(found[name])):
        lines += textwrap.wrap(source, width, subsequent_indent="    ", break_on_hyphens=False)
        lines += (line for name in names for line in _lines(rows[name], widths))
    return "\n".join(lines) + "\n"


def _lines(row: tuple[str, ...], widths: list[int]) -> list[str]:
    """Columns two spaces apart, the last wrapped."""
    start = "".join(f"{cell.ljust(n)}  " for cell, n in zip(row[:-1], widths[:-1], strict=True))
    first, *more = textwrap.wrap(row[-1], widths[-1], break_on_hyphens=False)
    return [start + first, *(" " * len(start) + rest for rest in more)]


def _source(entry: "Entry") -> str:
    """What stands once, above the recipes of a source."""
    return _joined(entry.source, entry.always_differs)


def _joined(*parts: str) -> str:
    return "; ".join(filter(None, parts))


def recipe_text(name: str) -> str:
    """A recipe: what it is, where it comes from, what it costs; then its settings as YAML."""
    from datm.config import dump_config
    from datm.recipes import RECIPES, recipe

    found = recipe(name)
    entry = RECIPES[name]
    place = f" ({entry.published_in})" if entry.published_in else ""
    facts = {
        "what": entry.summary,
        "source": entry.source,
        "settings": entry.settings,
        "published %": f"{entry.published}{place}" if entry.published else "-",
        "what differs": _joined(entry.differs, entry.always_differs),
        "measured here %": entry.measured,
        "cost": entry.cost,
    }
    comments = "".join(f"# {key}: {text}\n" for key, text in facts.items() if text)
    return comments + dump_config(found)


def recipes_text(name: str | None = None) -> str:
    """What `datm recipes [NAME]` prints: all, those with NAME in name or source, or one."""
    from datm.recipes import RECIPES

    return recipe_text(name) if name in RECIPES else recipes_table(name or "")


def results_text(out: Path, reported: bool = True) -> str:
    """The results of a run folder: the table, the verdict, and where the report is.

    `reported`: whether a report that is there tells of these results, not of earlier ones.
    """
    environment = out / "environment.json"
    smoke = environment.is_file() and bool(read_json(environment).get("smoke"))
    parts = []
    if (out / "evaluation.json").is_file():
        records = read_json(out / "evaluation.json")
        decided = verdict(records)
        parts.append(results_table(records))
        if not smoke:
            parts.append(f"{decided.headline}. {decided.sentence}")
    if smoke:
        parts.append("A smoke run: the stages work here, the accuracies mean nothing.")
    report = out / "report.html"
    if not report.is_file():
        parts.append(f"Run folder: {out}")
    elif reported:
        parts.append(f"Report: {report}")
    else:
        parts.append(f"Run folder: {out} (`datm report {out}` brings its report up to date)")
    return "\n\n".join(parts)
