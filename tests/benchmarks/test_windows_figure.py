"""The figure of early, all and late segments: what is drawn is what was evaluated."""

from pathlib import Path

import pytest
import windows_figure

from datm.runtime.files import write_json


def evaluated(folder: Path, run: str, ipc: int, **shares: list[float]) -> None:
    records = [{"what": what, "ipc": ipc, "accuracies": own} for what, own in shares.items()]
    (folder / run).mkdir(parents=True)
    write_json(folder / run / "evaluation.json", records)


def test_every_curve_is_what_was_evaluated(tmp_path: Path) -> None:
    few, many = tmp_path / "few", tmp_path / "many"
    evaluated(many, "late-epochs-3-to-6-0", 50, distilled=[0.9, 0.8], random=[0.5, 0.7])
    evaluated(many, "early-epochs-0-to-2-0", 50, distilled=[0.7, 0.75])
    evaluated(few, "early-epochs-0-to-2-0", 1, distilled=[0.25, 0.5])
    evaluated(few, "early-epochs-0-to-2-1", 1, distilled=[0.125, 0.25])
    drawn = windows_figure.curves([many, few])
    assert drawn == {
        "early": {1: [25, 50, 12.5, 25], 50: [70, 75]},
        "late": {50: [90, 80]},
        "random": {50: [50, 70]},
    }
    [axes] = windows_figure.draw(drawn, "").axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "50"]
    heights = [list(container.lines[0].get_ydata()) for container in axes.containers]
    assert heights == [[28.125, 72.5], [85], [60]]


def test_a_folder_without_runs_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["windows_figure.py", str(tmp_path), "--out", "x.png"])
    with pytest.raises(SystemExit, match="holds no evaluated run"):
        windows_figure.main()
