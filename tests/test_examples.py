"""The distilled sets in examples/ are what their cards say."""

from dataclasses import replace
from pathlib import Path

import pytest

from datm import DistilledSet, load_data
from datm.evaluation import EvaluateConfig, evaluate
from datm.reporting import dataset_card
from datm.runtime.device import Runtime
from real_data import cifar10

ROOT = Path(__file__).parents[1]
FOLDERS = sorted(path for path in (ROOT / "examples/distilled").iterdir() if path.is_dir())


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_set_is_whole_and_its_card_is_its_own(folder: Path) -> None:
    distilled = DistilledSet.load(folder)
    assert len(distilled.stored) == distilled.ipc * len(distilled.classes)
    assert len(distilled) == len(distilled.stored) * distilled.formation**2
    pixels = distilled.pixels()
    assert pixels.shape == distilled.images.shape
    assert 0 <= pixels.min() < pixels.max() <= 1
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert card == dataset_card(distilled.meta, distilled.records)
    assert {path.name for path in folder.iterdir()} == {
        *("README.md", "distilled.json", "distilled.safetensors", "preview.png"),
    }


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_readme_gives_its_accuracy(folder: Path) -> None:
    records = DistilledSet.load(folder).records
    [found] = [record for record in records if record["what"] == "distilled"]
    shown = f"{100 * found['mean']:.1f} ± {100 * found['std']:.1f}"
    assert shown in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_fresh_network_reaches_it_again(folder: Path) -> None:
    """Another seed than the recorded ones, within what networks differ by."""
    distilled = DistilledSet.load(folder)
    known = next(record for record in distilled.records if record["what"] == "distilled")
    data = load_data(str(cifar10()), transform="zca")
    runtime = Runtime(precision="auto", compile=True)
    config = replace(EvaluateConfig(), baselines=(), seeds=1)
    [record] = evaluate(distilled, data, config=config, runtime=runtime, seed=1)
    assert record["what"] == "distilled"
    assert record["mean"] == pytest.approx(known["mean"], abs=max(0.03, 4 * known["std"]))
