"""The card (README.md) of a distilled set, with the front matter of a Hugging Face card."""

from collections.abc import Mapping, Sequence
from typing import Any

from datm.reporting.tables import markdown_table, markdown_text
from datm.reporting.verdict import Record, main_model, real_images_needed, verdict

SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
)


def dataset_card(meta: Mapping[str, Any], records: Sequence[Record]) -> str:
    """The text of distilled/README.md from distilled.json (`meta`) and the evaluation records."""
    return (
        "\n\n".join(
            (
                _front_matter(meta),
                _what(meta),
                _use(),
                _measured(meta, records),
                _made(meta),
                _licence(meta),
                _limits(meta),
            )
        ).rstrip()
        + "\n"
    )


def _front_matter(meta: Mapping[str, Any]) -> str:
    import yaml

    images = meta["ipc"] * len(meta["classes"])
    front = {
        "pretty_name": f"{_name(meta)}, distilled to {meta['ipc']} images per class",
        "task_categories": ["image-classification"],
        "tags": ["dataset-distillation", "dataset-condensation", "datm"],
        "size_categories": [next((label for n, label in SIZES if images < n), "n>1M")],
        "license": "other",
        "license_name": "as-the-source-data-set",
    }
    return f"---\n{yaml.safe_dump(front, sort_keys=False, allow_unicode=True)}---"


def _what(meta: Mapping[str, Any]) -> str:
    classes, ipc, data = meta["classes"], meta["ipc"], meta.get("data", {})
    c, h, w = meta["shape"]
    source = f"the {data['train']:,} training images" if "train" in data else "the training images"
    shown = ", ".join(markdown_text(str(name)) for name in classes[:20])
    more = f" and {len(classes) - 20} more" if len(classes) > 20 else ""
    cut = meta.get("formation", 1)
    formed = (
        f"- each is {cut**2} training images in one: cut into {cut} by {cut} pieces, row by row, "
        f"which are enlarged to {w} × {h} (bilinear) and have a label each; "
        f"{ipc * cut**2 * len(classes):,} in all\n"
        if cut > 1
        else ""
    )
    return (
        f"# {markdown_text(_name(meta))}, distilled to {_count(ipc, 'image')} per class\n\n"
        f"{_count(ipc * len(classes), 'synthetic training image')} with soft labels, "
        f"learned to stand in for {source} of {markdown_text(_name(meta))}: a network trained on "
        "them alone should come as near as it can to one trained on all the real data.\n\n"
        f"- images: {ipc * len(classes):,} of {w} × {h} pixels, "
        f"{_count(c, 'channel')}, {ipc:,} per class\n"
        f"{formed}"
        f"- classes: {len(classes)} ({shown}{more})\n"
        "- labels: soft, one logit per class and image; use them as softmax probabilities\n\n"
        "![the distilled images](preview.png)"
    )


def _use() -> str:
    return """## Use

```python
import datm
from torch.utils.data import DataLoader

distilled = datm.DistilledSet.load(".")  # this folder
for images, soft_labels in DataLoader(distilled, batch_size=64, shuffle=True):
    ...  # images in the training space; distilled.pixels() gives them as they look
```

`distilled.safetensors` holds `images`, `logits`, the `step_size` to train with and the transform;
`distilled.json` holds everything else that is known of the set. No file here runs code."""


def _measured(meta: Mapping[str, Any], records: Sequence[Record]) -> str:
    if not records:
        return "## Measured accuracy\n\nNot evaluated yet."
    decided = verdict(records, meta.get("network"))
    text = (
        "## Measured accuracy\n\n"
        "Fresh networks trained on each set alone, tested on the real test images; "
        "mean ± standard deviation over networks.\n\n"
        f"{markdown_table(records)}\n\n"
        f"**{decided.headline}.** {markdown_text(decided.sentence)}"
    )
    if decided.distilled is not None:
        model = main_model(records, meta.get("network"))
        needed = real_images_needed(records, model, decided.distilled["mean"])
        text += f" {needed.sentence}" if needed else ""
    return text


def _made(meta: Mapping[str, Any]) -> str:
    facts = _objectives(meta)
    place, earlier = "begun_with", meta.get("begun_with")
    while earlier:
        facts.append(
            f"begun with a set that was distilled before, in {earlier['iterations']:,} iterations"
            f" and {duration(earlier['seconds'])}, {' and '.join(_objectives(earlier))}; its"
            f" settings: `{place}` in `distilled.json`"
        )
        place, earlier = f"{place}.begun_with", earlier.get("begun_with")
    facts += [
        f"matching network: `{meta['network']}`",
        f"training space: {meta['transform']}",
        f"step size to train with: {meta['step_size']:.4g}",
    ]
    chosen = f"iterate chosen on the validation split: {meta['iteration']:,}"
    if meta.get("validation_accuracy") is not None:
        chosen += f" ({100 * meta['validation_accuracy']:.1f} % there)"
    facts.append(chosen)
    if meta.get("seconds") is not None:
        facts.append(f"time to distil: {duration(meta['seconds'])}, without the teachers")
    if (fingerprint := meta.get("data", {}).get("fingerprint")) is not None:
        facts.append(f"SHA-256 of the real training images: `{fingerprint}`")
    facts.append("every setting: `recipe` in `distilled.json`")
    return "## How it was made\n\n" + "\n".join(f"- {fact}" for fact in facts)


def _objectives(meta: Mapping[str, Any]) -> list[str]:
    """What the set was optimised for: teachers' trajectories, real images, or both in turn."""
    match = meta.get("recipe", {}).get("distill", {}).get("match", {})
    share = match.get("data_share", 0)
    facts = []
    if share < 1 or match.get("data_from"):
        facts.append(
            "by matching the training trajectories of teachers (DATM: Guo et al., *Towards "
            "Lossless Dataset Distillation via Difficulty-Aligned Trajectory Matching*, ICLR 2024)"
        )
    if share:
        facts.append(
            "by the loss on real training images of networks that are trained on the set "
            "(Wang et al., *Dataset Distillation*, 2018)"
        )
    return facts


def _licence(meta: Mapping[str, Any]) -> str:
    return (
        "## Licence\n\n"
        f"These images started as images of {markdown_text(_name(meta))} and derive from them; "
        "some may still look like their originals. The licence and terms of that data set apply "
        "to them. Name it when you pass them on."
    )


def _limits(meta: Mapping[str, Any]) -> str:
    return (
        "## Limitations\n\n"
        f"- Learned for `{meta['network']}` in one training space and under one kind of "
        "augmentation; other networks usually gain less.\n"
        "- Rare and hard cases of the real data can be missing, and biases of the real data "
        "remain.\n"
        "- Distilling is no anonymising: do not take it for a protection of privacy.\n"
        "- Only the accuracies above were measured."
    )


def _name(meta: Mapping[str, Any]) -> str:
    return str(meta.get("data", {}).get("name", "an unnamed data set"))


def pieces_note(meta: Mapping[str, Any]) -> str:
    """ " of 4 training images each", or nothing where an image is one."""
    pieces = meta.get("formation", 1) ** 2
    return f" of {pieces} training images each" if pieces > 1 else ""


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def duration(seconds: float) -> str:
    """ "12 s", "3.5 min", "2.1 h": a time to read."""
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    if seconds < 5400:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h"
