"""The table of final accuracies, and the overrides it is made with."""

import accuracy
import pytest


def test_mean_and_deviation_are_over_all_networks_of_all_seeds() -> None:
    rows = {"exact, float32": [[0.5, 0.7], [0.9, 0.9]], "TESLA, float32": [[0.1, 0.2]], "later": []}
    lines = accuracy.table(rows).splitlines()
    assert lines[2:] == [
        "| exact, float32 | 60.0, 90.0 | 75.0 | 19.1 | 4 |",
        "| TESLA, float32 | 15.0 | 15.0 | 7.1 | 2 |",
    ]


def test_overrides_are_pairs() -> None:
    given = ["--distill.iterations", "20", "--data", "x"]
    assert accuracy.pairs(given) == {"distill.iterations": "20", "data": "x"}
    for wrong in (["--data"], ["data", "x"]):
        with pytest.raises(SystemExit, match="no list of --field value"):
            accuracy.pairs(wrong)
