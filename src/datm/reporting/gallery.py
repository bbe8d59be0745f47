"""The report's pictures: all images at a glance, then each one with its soft label.

Shapes: n images shown, K classes. Both the images before and after come from one sprite each.
"""

from collections.abc import Sequence

from torch import Tensor

from datm.reporting.figures import Sprite, shown_note
from datm.reporting.html import esc, missing
from datm.reporting.run_folder import Gallery, RunFolder

TOP = 3  # classes of a soft label that are printed
FEW = 4  # images of a class up to which several classes share a line
OPEN = 40  # soft labels up to this number are shown unfolded


def images_section(run: RunFolder) -> tuple[str, str]:
    """The section's HTML and the CSS that holds its pictures."""
    if run.distilled is None or run.meta is None:
        return missing("No distilled set yet: <code>datm distill</code> fills this section."), ""
    names = [str(name) for name in run.meta["classes"]]
    views = {"before": run.initial, "after": run.distilled}
    sprites = {
        name: Sprite.of(view.pixels, across=view.shown) for name, view in views.items() if view
    }
    css = "".join(sprite.css(name) for name, sprite in sprites.items())
    after = run.distilled
    note = shown_note(after.per_class, after.shown, len(names), after.classes)
    lead = f'<p class="small">{esc(note[:1].upper() + note[1:])}.</p>' if note else ""
    if run.initial is None:
        lead += missing(
            "The images before distillation are not in this folder, so only the distilled ones "
            "are shown."
        )
    earlier = "begun_with" in run.meta
    titles = {
        "before": "Before: an earlier distilled set" if earlier else "Before: real images",
        "after": "After: distilled images",
    }
    grids = "".join(
        _grid(name, titles[name], sprite, views[name], names) for name, sprite in sprites.items()
    )
    return f'{lead}<div class="grids">{grids}</div>{_labels(run, names, sprites)}', css


def _grid(kind: str, title: str, sprite: Sprite, view: Gallery | None, names: Sequence[str]) -> str:
    """All images shown, a class a line, or several classes a line where few of each are shown."""
    assert view is not None
    tiles = [
        f'<i class="tile {kind}" style="background-position:{sprite.position(i)}" '
        f'title="{esc(_label_text(view.probabilities[i], names))}"></i>'
        for i in range(len(view.pixels))
    ]
    strips = ["".join(tiles[k * view.shown : (k + 1) * view.shown]) for k in range(view.classes)]
    if view.shown <= FEW:
        blocks = "".join(
            f"<div>{strip}<span>{esc(names[k])}</span></div>" for k, strip in enumerate(strips)
        )
        body = f'<div class="blocks" style="--n:{view.shown}">{blocks}</div>'
    else:
        lines = "".join(
            f'<span class="class">{esc(names[k])}</span>{strip}' for k, strip in enumerate(strips)
        )
        body = f'<div class="grid" style="--n:{view.shown}">{lines}</div>'
    return f"<figure><h3>{title}</h3>{body}</figure>"


def _labels(run: RunFolder, names: Sequence[str], sprites: dict[str, Sprite]) -> str:
    """Cards of image and soft label, folded by class where they are many."""
    after, before = run.distilled, run.initial
    assert after is not None
    cards = [_card(i, after, before, names, sprites) for i in range(len(after.pixels))]
    groups = [cards[k * after.shown : (k + 1) * after.shown] for k in range(after.classes)]
    own = f"{100 * after.own:.1f} %"
    if before is not None:
        own = f"{100 * before.own:.1f} % before and {own} after distillation"
    lead = (
        f"<h3>Soft labels</h3><p>The labels give an image’s own class {own}, on average. "
        f"Printed: the {min(TOP, len(names))} largest probabilities, in percent.</p>"
    )
    if len(cards) <= OPEN:
        return f'{lead}<div class="cards">{"".join(cards)}</div>'
    folds = "".join(
        f'<details class="fold"{" open" if k == 0 else ""}><summary>{esc(names[k])}</summary>'
        f'<div class="cards">{"".join(group)}</div></details>'
        for k, group in enumerate(groups)
    )
    return f'{lead}<div class="folds">{folds}</div>'


def _card(
    i: int,
    after: Gallery,
    before: Gallery | None,
    names: Sequence[str],
    sprites: dict[str, Sprite],
) -> str:
    """One image, before and after, with the largest probabilities of both labels."""
    views = [("before", before), ("after", after)] if before else [("after", after)]
    head = "".join(
        f'<th><i class="tile {kind}" style="background-position:{sprites[kind].position(i)}"></i>'
        f"<small>{kind}</small></th>"
        for kind, _ in views
    )
    rows = "".join(
        f'<tr><td title="{esc(names[k])}">{esc(names[k])}</td>'
        + "".join(_probability(float(view.probabilities[i, k])) for _, view in views if view)
        + "</tr>"
        for k in after.probabilities[i].topk(min(TOP, len(names))).indices.tolist()
    )
    return f'<table class="card"><tr><td></td>{head}</tr>{rows}</table>'


def _probability(p: float) -> str:
    return f'<td class="p" style="--p:{100 * p:.0f}%">{100 * p:.0f}</td>'


def _label_text(probabilities: Tensor, names: Sequence[str]) -> str:
    """ "seven 91 %, one 5 %": a soft label in a line."""
    top = probabilities.topk(min(TOP, len(names)))
    return ", ".join(
        f"{names[k]} {100 * p:.0f} %"
        for k, p in zip(top.indices.tolist(), top.values.tolist(), strict=True)
    )
