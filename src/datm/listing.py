"""What the command line prints of recipes and results, as text."""

from pathlib import Path

from datm.reporting.tables import results_table
from datm.reporting.verdict import verdict
from datm.runtime.files import read_json


def recipes_table() -> str:
    """Every recipe on a line: data set, images per class, source, published and measured."""
    from datm.recipes import RECIPES

    head = ("recipe", "data", "images per class", "published %", "measured here %", "source")
    rows = [
        (
            name,
            entry.recipe.data.source,
            str(entry.recipe.distill.ipc),
            entry.published or "-",
            entry.measured or "-",
            entry.source,
        )
        for name, entry in RECIPES.items()
    ]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = (
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in (head, tuple("─" * width for width in widths), *rows)
    )
    return "\n".join(lines) + "\n"


def recipe_text(name: str) -> str:
    """A recipe: what it is, where it comes from, what it costs; then its settings as YAML."""
    from datm.config import dump_config
    from datm.recipes import RECIPES, recipe

    found = recipe(name)
    entry = RECIPES[name]
    facts = {
        "what": entry.summary,
        "source": entry.source,
        "published %": entry.published,
        "measured here %": entry.measured,
        "cost": entry.cost,
    }
    comments = "".join(f"# {key}: {text}\n" for key, text in facts.items() if text)
    return comments + dump_config(found)


def results_text(out: Path) -> str:
    """The results of a run folder: the table, the verdict, and where the report is."""
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
    parts.append(f"Report: {report}" if report.is_file() else f"Run folder: {out}")
    return "\n\n".join(parts)
