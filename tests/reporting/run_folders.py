"""A run folder as the stages write it, with plausible figures: material for the report's tests.

The images are scikit-learn's digits; "distilled" ones are digits with some structure added.
"""

import json
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from datm.data.transform import fit_transform
from datm.runtime.seeds import generator

MODEL = "convnet-2,width=32"
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def record(
    what: str, images: int, accuracies: Sequence[float], ipc: int | None = None, model: str = MODEL
) -> dict[str, Any]:
    """An evaluation record with these accuracies (fractions)."""
    return {
        "what": what,
        "model": model,
        "ipc": ipc,
        "images": images,
        "accuracies": list(accuracies),
        "mean": statistics.fmean(accuracies),
        "std": statistics.stdev(accuracies) if len(accuracies) > 1 else 0.0,
        "protocol": {
            "epochs": 300,
            "batch": 256,
            "learning_rate": 0.0123,
            "momentum": 0.9,
            "weight_decay": 5e-4,
            "steps": 300,
            "augmentation": "colour, crop, cutout, scale, rotate",
            "labels": "soft" if what in ("distilled", "initial") else "hard",
        },
        "seconds": 12.0,
    }


def digits_records() -> list[dict[str, Any]]:
    """Distilled below all real data, above random real images of the same number."""
    curve = {1: 0.44, 2: 0.60, 5: 0.79, 10: 0.882, 20: 0.921, 50: 0.958}
    noise = (-0.008, -0.003, 0.0, 0.004, 0.007)

    def spread(mean: float, scale: float = 1.0) -> list[float]:
        return [mean + scale * n for n in noise]

    return [
        *(record("random", 10 * ipc, spread(mean, 2), ipc) for ipc, mean in curve.items()),
        record("initial", 100, spread(0.896), 10),
        record("distilled", 100, spread(0.943, 0.6), 10),
        record("full", 1257, spread(0.984, 0.4)),
    ]


def digits_images(ipc: int) -> tuple[Tensor, Tensor]:
    """Real digits [10 * ipc, 1, 8, 8] uint8 in class order, and all of them."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = torch.tensor(bunch.images).mul(255 / 16).round().to(torch.uint8)[:, None]
    labels = torch.tensor(bunch.target)
    rows = [torch.nonzero(labels == k).flatten()[:ipc] for k in range(10)]
    return images[torch.cat(rows)], images


def soft_logits(ipc: int, classes: int, *, sharp: float) -> Tensor:
    """Logits [S, K] that favour the own class by about `sharp`."""
    noise = torch.randn(ipc * classes, classes, generator=generator(0, "logits", classes))
    own = torch.nn.functional.one_hot(torch.arange(classes).repeat_interleave(ipc), classes)
    return noise + sharp * own


def metrics_lines(iterations: int, teachers: int, start_epochs: int) -> list[dict[str, Any]]:
    """A matching loss that falls, more for early start epochs; validation every tenth part."""
    random = generator(0, "metrics")
    lines: list[dict[str, Any]] = []
    best = 0.0
    for i in range(0, iterations + 1, max(1, iterations // 400)):
        upper = 2 + (start_epochs - 2) * min(1.0, 2 * i / iterations)
        epoch = int(torch.rand((), generator=random) * upper)
        noise = 0.04 * float(torch.randn((), generator=random))
        loss = 0.45 + 0.02 * epoch + 0.4 * math.exp(-4 * i / iterations) + noise
        teacher = i % teachers
        lines.append(
            {
                "iteration": i,
                "loss": loss,
                "teacher": teacher,
                "start_epoch": epoch,
                "upper_epoch": int(upper),
                "step_size": 0.01 * (1 + 0.8 * i / iterations),
                "images_grad_norm": 1e-3,
                "logits_grad_norm": 1e-3,
                "step_size_grad": 0.1,
                "skipped": loss > 1,
                "segments": [[teacher, epoch, loss]],
                "seconds": 0.7,
            }
        )
        if i % max(1, iterations // 10) == 0:
            accuracy = 0.93 - 0.09 * math.exp(-5 * i / iterations) + noise / 8
            lines.append({"iteration": i, "validation_accuracy": accuracy, "best": accuracy > best})
            best = max(best, accuracy)
    return lines


def manifest(data: dict[str, Any], teachers: int, epochs: int, top: float) -> dict[str, Any]:
    """Teachers whose accuracy rises from chance towards `top`."""
    random = generator(0, "teachers")

    def epoch(e: int) -> dict[str, Any]:
        value = top - (top - 0.1) * math.exp(-e / (epochs / 5))
        value += 0.01 * float(torch.randn((), generator=random))
        return {
            "epoch": e,
            "train_loss": None if e == 0 else 2.3 * math.exp(-e / 5),
            "validation_accuracy": value + 0.004,
            "test_accuracy": value,
        }

    return {
        "format": "datm-trajectories-1",
        "data": data,
        "network": MODEL,
        "parameters": 12_906,
        "settings": {"network": MODEL, "teachers": teachers, "epochs": epochs, "batch": 64},
        "settings_hash": "0" * 64,
        "seed": 0,
        "teachers": [
            {
                "file": f"teacher-{t:03d}.safetensors",
                "seed": t,
                "complete": True,
                "seconds": 8.2,
                "epochs": [epoch(e) for e in range(epochs + 1)],
            }
            for t in range(teachers)
        ],
    }


def make_run(
    path: Path,
    *,
    ipc: int = 10,
    classes: Sequence[str] = DIGITS,
    transform: str = "zca",
    records: list[dict[str, Any]] | None = None,
    name: str = "digits-ipc10",
) -> Path:
    """A complete run folder at `path`."""
    before, every = digits_images(ipc)
    fitted = fit_transform(transform, every)
    random = generator(0, "images")
    stripes = torch.rand(len(before), 1, 8, 8, generator=random).sub(0.5).mul(0.35)
    after = (before.float() / 255 + stripes).clamp(0, 1)
    data = {
        "name": "digits",
        "shape": [1, 8, 8],
        "classes": list(classes),
        "train": 1257,
        "validation": 180,
        "test": 360,
        "transform": transform,
        "fingerprint": "f" * 64,
    }
    records = digits_records() if records is None else records
    folder = path / "distilled"
    folder.mkdir(parents=True)
    (path / "trajectories").mkdir()
    save_file(
        {
            "images": fitted(after),
            "logits": soft_logits(ipc, 10, sharp=4.5),
            "step_size": torch.tensor(0.018),
            **{f"transform.{key}": value for key, value in fitted.tensors().items()},
        },
        folder / "distilled.safetensors",
    )
    save_file(
        {
            "images": fitted(before),
            "logits": soft_logits(ipc, 10, sharp=7.0),
            "step_size": torch.tensor(0.01),
        },
        folder / "initial.safetensors",
    )
    recipe = {
        "name": name,
        "seed": 0,
        "data": {"source": "digits", "transform": transform},
        "teach": {"network": MODEL, "teachers": 5, "epochs": 30},
        "distill": {"ipc": ipc, "iterations": 400, "match": {"steps": 20, "t_max": 12}},
    }
    meta = {
        "format": "datm-distilled-1",
        "classes": list(classes),
        "ipc": ipc,
        "shape": [1, 8, 8],
        "data": data,
        "transform": transform,
        "network": MODEL,
        "step_size": 0.018,
        "iteration": 400,
        "validation_accuracy": 0.93,
        "recipe": recipe,
        "records": records,
        "seconds": 93.4,
    }
    lines = [json.dumps(line) for line in metrics_lines(400, 5, 12)]
    environment = {"datm": "0.1.0", "python": "3.11.9", "cpu": {"name": "a CPU", "cores": 2}}
    put(path / "distilled/distilled.json", meta)
    put(path / "trajectories/manifest.json", manifest(data, 5, 30, 0.985))
    put(path / "evaluation.json", records)
    put(path / "environment.json", environment)
    (path / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    (path / "config.yaml").write_text(f"name: {name}\nipc: {ipc}\ndata:\n  source: digits\n")
    return path


def put(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value))
