"""The report's sections as HTML: each takes the run and returns its part of the page.

A section whose files are missing says so. See also accuracy.py and gallery.py.
"""

from datm.reporting import plots
from datm.reporting.card import duration, pieces_note
from datm.reporting.html import esc, figure, fold, missing, pairs, percent, tidy
from datm.reporting.run_folder import RunFolder
from datm.reporting.tables import count, kind_name
from datm.reporting.verdict import (
    Record,
    Verdict,
    accuracy,
    networks,
    pick,
    real_images_needed,
)

SECTIONS = {
    "verdict": "Verdict",
    "images": "Images",
    "accuracy": "Accuracy",
    "matching": "Matching",
    "teachers": "Teachers",
    "settings": "Settings",
    "environment": "Environment",
}


def header(run: RunFolder) -> str:
    facts = [str(run.data["name"])] if "name" in run.data else []
    if run.meta:
        images = run.meta["ipc"] * len(run.meta["classes"])
        facts.append(f"{run.meta['ipc']:,} per class, {images:,} images{pieces_note(run.meta)}")
        full = pick(run.records, "full", run.model)
        if real := full["images"] if full else run.data.get("train"):
            facts[-1] += f" in place of {real:,} ({percent(images / real)})"
    network = (run.meta or run.manifest or {}).get("network")
    facts += [str(network)] if network else []
    links = "".join(f'<a href="#{key}">{name}</a>' for key, name in SECTIONS.items())
    return (
        f'<header><p class="eyebrow">Dataset distillation report</p><h1>{esc(run.name)}</h1>'
        f'<p class="facts">{esc(" · ".join(facts))}</p><nav>{links}</nav></header>'
    )


def verdict_section(run: RunFolder, decided: Verdict) -> str:
    kind = {True: "yes", False: "no", None: "open"}[decided.lossless]
    model = run.model
    more = ""
    if decided.distilled is not None:
        needed = real_images_needed(run.records, model, decided.distilled["mean"])
        more = f"<p>{tidy(needed.sentence)}</p>" if needed else ""
    rule = (
        "Lossless means: the mean accuracy on the distilled set is at or above that on all the "
        "real data. The interval is Welch’s, over the networks that were trained."
    )
    smoke = ""
    if (run.environment or {}).get("smoke"):
        smoke = missing("A smoke run: the stages work here, the accuracies mean nothing.")
    return (
        f'{smoke}<div class="verdict {kind}"><h2>{esc(decided.headline)}</h2>'
        f'<p>{tidy(decided.sentence)}</p>{more}<p class="small">{rule}</p></div>'
        f"{_tiles(run, model)}"
    )


def _tiles(run: RunFolder, model: str | None) -> str:
    """The accuracies in large figures, all of one network and, where it can be, one number."""
    distilled = pick(run.records, "distilled", model)
    same = [
        r
        for r in run.records
        if r["what"] != "random" or distilled is None or r["images"] == distilled["images"]
    ]
    tiles = []
    for what in ("distilled", "initial", "random", "full"):
        record = pick(same, what, model)
        if record is not None:
            tiles.append(
                f'<div class="tile {what}"><span>{esc(kind_name(what))}</span>'
                f"<b>{100 * record['mean']:.1f}<small> %</small></b>"
                f"<span>{tidy(_spread(record))}</span>"
                f"<span>{count(record)} images</span></div>"
            )
    return f'<div class="tiles">{"".join(tiles)}</div>' if tiles else ""


def _spread(record: Record) -> str:
    _, _, spread = accuracy(record).partition(" ± ")
    return f"± {spread}, {networks(record)}" if spread else networks(record)


WITHOUT_VALIDATION = "Nothing was held out for validation: the last iterate is the result."


def matching_section(run: RunFolder) -> str:
    if not run.metrics:
        return missing("No <code>metrics.jsonl</code>: nothing was distilled in this folder.")
    charts = (
        (
            plots.loss_plot(run),
            "Matching loss. 1 means as far from the teacher’s later weights as "
            "if the student had not moved.",
        ),
        (
            plots.data_loss_plot(run),
            "Loss on real images of students that began with fresh weights. 1 means as good as "
            "guessing.",
        ),
        (
            plots.validation_plot(run),
            "Accuracy on held-out training images; the best iterate is "
            "chosen here, never on the test images.",
        ),
        (plots.step_size_plot(run), "The learned step size of the student’s training."),
        (
            plots.start_epoch_plot(run),
            "Matching loss by start epoch: early segments carry easy "
            "patterns, late ones hard patterns.",
        ),
    )
    figures = "".join(figure(svg, caption) for svg, caption in charts if svg)
    absent = ""
    if not run.validations:
        held_out = run.data.get("validation") != 0
        reason = "No iterate was validated yet." if held_out else WITHOUT_VALIDATION
        absent = missing(reason)
    skipped = sum(bool(line.get("skipped")) for line in run.iterations)
    last = run.iterations[-1]["iteration"] if run.iterations else 0
    facts = f"{last:,} iterations. "
    if skipped:
        facts += f"{skipped:,} of {len(run.iterations):,} logged ones changed nothing "
        facts += "(loss above the threshold or not finite)."
    return f'<p>{facts}</p>{absent}<div class="charts">{figures}</div>'


def teachers_section(run: RunFolder) -> str:
    if run.manifest is None:
        return missing("No trajectories in this folder: the teachers were trained elsewhere.")
    teachers = run.manifest.get("teachers") or []
    if not teachers:
        return missing("No teacher has begun yet: <code>datm teach</code> fills this section.")
    done = sum(bool(t.get("complete")) for t in teachers)
    facts = [
        f"{len(teachers):,} teachers of {esc(run.manifest['network'])}",
        f"{run.manifest['parameters']:,} parameters",
    ]
    facts += [f"only {done:,} of them complete"] if done < len(teachers) else []
    caption = "Accuracy of the teachers on all the real data, by epoch."
    if len(teachers) > plots.THIN_LINES:
        caption += f" Thin lines: the first {plots.THIN_LINES}; means: all {len(teachers)}."
    charts = (
        (plots.teachers_plot(run), caption),
        (plots.teachers_loss_plot(run), "The teachers’ training loss by epoch."),
    )
    figures = "".join(figure(svg, text) for svg, text in charts if svg)
    body = f'<div class="charts">{figures}</div>' if figures else missing("No epoch is done yet.")
    return f"<p>{', '.join(facts)}.</p>{body}"


def settings_section(run: RunFolder) -> str:
    parts = []
    if run.config is not None:
        parts.append(
            fold(
                "config.yaml: give it to <code>datm run</code> to repeat this run",
                f"<pre>{esc(run.config)}</pre>",
            )
        )
    if run.meta and run.meta.get("recipe"):
        parts.append(fold("The recipe that the distilled set keeps", pairs(run.meta["recipe"])))
    if run.manifest and run.manifest.get("settings"):
        parts.append(fold("The teachers’ settings", pairs(run.manifest["settings"])))
    if run.data:
        parts.append(fold("The data set", pairs(run.data)))
    return "".join(parts) or missing("No settings are kept in this folder.")


def environment_section(run: RunFolder) -> str:
    times = {
        "teachers": sum(t.get("seconds") or 0 for t in (run.manifest or {}).get("teachers") or []),
        "distillation": (run.meta or {}).get("seconds") or 0,
        "evaluation": sum(r.get("seconds") or 0 for r in run.records),
    }
    spent = ", ".join(f"{name} {duration(s)}" for name, s in times.items() if s)
    time = f"<p>Time: {esc(spent)}.</p>" if spent else ""
    if run.environment is None:
        return time + missing("No <code>environment.json</code>: where this ran is not known.")
    return time + pairs(run.environment)
