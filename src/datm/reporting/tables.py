"""Tables of evaluation records: plain text for a terminal, Markdown for cards and READMEs."""

from collections.abc import Sequence
from itertools import chain

from datm.reporting.verdict import Record, accuracy

KINDS = {
    "full": "all real data",
    "random": "random real images",
    "dm": "distribution matching (DM)",
    "dsa": "gradient matching (DSA)",
    "initial": "before distillation",
    "distilled": "distilled",
}
HEAD = ("training set", "model", "images", "images per class", "accuracy %", "networks")
BALANCED = "balanced %"
"""A column more where classes have unequal numbers of test images: each counts the same."""
LEFT = 2  # the first columns hold words, the others numbers


def kind_name(what: str) -> str:
    """What a record was trained on, in words."""
    return KINDS.get(what, f"{what} real images")


def in_order(records: Sequence[Record]) -> list[Record]:
    """By network as first met; within one all real, real choices by size, then synthetic sets."""
    models = list(dict.fromkeys(r["model"] for r in records))
    last = {"dm": 2, "dsa": 2, "initial": 3, "distilled": 4}

    def place(record: Record) -> tuple[int, int, str, int]:
        what = record["what"]
        group = 0 if what == "full" else last.get(what, 1)
        return models.index(record["model"]), group, what, record["images"]

    return sorted(records, key=place)


def head(records: Sequence[Record]) -> tuple[str, ...]:
    """The columns' names."""
    return (*HEAD, BALANCED) if has_balanced(records) else HEAD


def has_balanced(records: Sequence[Record]) -> bool:
    """Whether any record tells its accuracy as the mean of the classes'."""
    return any(record.get("balanced") is not None for record in records)


def count(record: Record) -> str:
    """ "100", or "100 × 4" where each of them is cut into four to be trained on."""
    pieces = record.get("pieces", 1)
    return f"{record['images']:,}" + (f" × {pieces}" if pieces > 1 else "")


def balanced(record: Record) -> str:
    """The mean of the classes' accuracies in percent."""
    share = record.get("balanced")
    return "–" if share is None else f"{100 * share:.1f}"


def cells(record: Record, names: Sequence[str] = HEAD) -> tuple[str, ...]:
    """The texts of one record, one for each column of `names`."""
    per_class = record.get("ipc")
    more = (balanced(record),) if BALANCED in names else ()
    return (
        kind_name(record["what"]),
        str(record["model"]),
        count(record),
        "all" if per_class is None else f"{per_class:,}",
        accuracy(record),
        str(len(record["accuracies"])),
        *more,
    )


def results_table(records: Sequence[Record]) -> str:
    """The records as aligned plain text, a line each under a head; accuracies are mean ± std.

    A network that all the records share is named once, in a line above, to keep the table narrow.
    """
    models = {str(r["model"]) for r in records}
    names = head(records)
    rows = [names, *(cells(record, names) for record in in_order(records))]
    if len(models) == 1:
        rows = [(row[0], *row[2:]) for row in rows]
        return f"model: {models.pop()}\n{_aligned(rows, LEFT - 1)}"
    return _aligned(rows, LEFT)


def _aligned(rows: Sequence[Sequence[str]], left: int) -> str:
    """Rows under a head and a rule; the first `left` columns set to the left, others right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            text.ljust(width) if i < left else text.rjust(width)
            for i, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    rule = "  ".join("─" * width for width in widths)
    return "\n".join(line.rstrip() for line in (lines[0], rule, *lines[1:]))


def markdown_table(records: Sequence[Record]) -> str:
    """The records as a Markdown table; accuracies are mean ± std."""
    names = head(records)
    rule = tuple("---" if i < LEFT else "---:" for i in range(len(names)))
    body = (tuple(markdown_text(text) for text in cells(r, names)) for r in in_order(records))
    return "\n".join("| " + " | ".join(row) + " |" for row in chain((names, rule), body))


def markdown_text(text: str) -> str:
    """`text` so that Markdown shows it as it is, on one line and in one table cell."""
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;")
    for mark in "\\|`*_[]":
        text = text.replace(mark, "\\" + mark)
    return text
