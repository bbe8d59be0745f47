"""Small pieces of HTML. Everything that comes from a file goes through `esc`."""

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any


def esc(value: Any) -> str:
    return escape(str(value))


def tidy(text: str) -> str:
    """Escaped text with `code` set as code; a number, its spread and its unit stay on one line."""
    text = re.sub(r"`([^`]+)`", r"<code>\1</code>", esc(text))
    return text.replace(" %", "\u00a0%").replace(" ± ", "\u00a0±\u00a0")


def missing(text: str) -> str:
    """A note in place of what is not there yet."""
    return f'<p class="missing">{text}</p>'


def figure(svg: str, caption: str) -> str:
    return f"<figure>{svg}<figcaption>{caption}</figcaption></figure>"


def pairs(record: Mapping[str, Any]) -> str:
    """A nested record as a two-column table with dotted names."""
    rows = "".join(
        f"<tr><th>{esc(key)}</th><td>{esc(value)}</td></tr>" for key, value in flat(record)
    )
    return f'<div class="scroll"><table class="pairs"><tbody>{rows}</tbody></table></div>'


def table(
    head: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]], numbers: Sequence[str]
) -> str:
    """A table in a box that scrolls by itself. Rows are (CSS class, cells as HTML).

    Columns whose head is in `numbers` are set to the right.
    """
    kinds = [' class="n"' if name in numbers else "" for name in head]
    top = "".join(f"<th{kind}>{esc(name)}</th>" for kind, name in zip(kinds, head, strict=True))
    body = "".join(
        f'<tr class="{esc(style)}">'
        + "".join(f"<td{kind}>{cell}</td>" for kind, cell in zip(kinds, cells, strict=True))
        + "</tr>"
        for style, cells in rows
    )
    return (
        f'<div class="scroll"><table class="records"><thead><tr>{top}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def flat(record: Mapping[str, Any], path: str = "") -> Iterable[tuple[str, str]]:
    """Dotted names and values as text."""
    for key, value in record.items():
        name = f"{path}{key}"
        if isinstance(value, Mapping):
            yield from flat(value, f"{name}.")
        elif isinstance(value, list | tuple):
            yield name, ", ".join(map(str, value))
        else:
            yield name, "–" if value is None else str(value)


def percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share >= 0.001 else f"{100 * share:.2g} %"


def fold(title: str, body: str) -> str:
    return f'<details class="fold"><summary>{title}</summary>{body}</details>'
