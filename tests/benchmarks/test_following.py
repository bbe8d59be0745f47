"""How closely students follow: what they differ by and what they are all off by, told apart."""

from pathlib import Path

import following
import pytest
import torch

from datm.pipeline import run
from mini import mini_recipe


def test_noise_and_what_is_off_add_up_to_the_loss() -> None:
    start, target = torch.zeros(3), torch.tensor([2.0, 0.0, 0.0])
    ends = torch.tensor([[1.0, 1.0, 0.0], [1.0, -1.0, 0.0]])
    found = following.followed(ends, start, target)
    # Each is 2 of 4 away, and 2 of 4 is their variance. Their mean is 1 of 4 away: half of the
    # variance, which is what a mean of two has of it.
    assert found == following.Followed(loss=0.5, noise=0.5, off=0.0, way=0.5, cosine=1.0)


def test_students_that_agree_have_no_noise_and_may_go_elsewhere() -> None:
    start, target = torch.zeros(2), torch.tensor([1.0, 0.0])
    found = following.followed(torch.tensor([[0.0, 2.0]] * 3), start, target)
    assert found == following.Followed(loss=5.0, noise=0.0, off=5.0, way=2.0, cosine=0.0)


def test_neither_depends_on_how_many_students_there_are() -> None:
    draw = torch.Generator().manual_seed(0)
    start, target = torch.zeros(4), torch.ones(4)
    ends = 0.5 + torch.randn(4000, 4, generator=draw)
    few = [following.followed(some, start, target) for some in ends.split(4)]
    for name, expected in {"loss": 1.25, "noise": 1.0, "off": 0.25}.items():
        mean = sum(getattr(one, name) for one in few) / len(few)
        assert mean == pytest.approx(expected, abs=0.06)


def test_a_run_is_measured_from_its_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(mini_recipe(), tmp_path)
    given = [str(tmp_path / "distilled"), str(tmp_path / "trajectories"), "--epochs"]
    small = ["--step_size", "0.01", "--inner_steps", "2", "--batch", "10", "--students", "2"]
    small.append("--no-compile")
    monkeypatch.setattr("sys.argv", ["following.py", *given, "0", "2", *small])
    following.main()
    lines = capsys.readouterr().out.splitlines()[-4:]
    assert lines[0] == "| epoch | loss | noise | off | way | cosine |"
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| 0", "| 2"]
    found = following.measure(following.parse([*given, "0", *small]))[0]
    # Two steps of two near an epoch's start: neither there, nor where they began, nor all alike.
    assert all(0 < one.off < 1 and 0 < one.noise < 1 and one.cosine > 0 for one in found)
    with pytest.raises(SystemExit, match="ends at epoch 4, not 5"):
        following.measure(following.parse([*given, "4", *small]))
    monkeypatch.setattr("sys.argv", ["following.py", str(tmp_path), *given[1:], "0", *small])
    with pytest.raises(SystemExit, match="no distilled set"):
        following.main()
    with pytest.raises(SystemExit):
        following.parse([*given, "0", *small, "--students", "1"])
