"""The tables of hand-made records: ratios, floors, skipped rows."""

from dataclasses import asdict
from typing import Any

import pytest
from speed.cases import Case
from speed.tables import render, to_digits

HEADER: dict[str, Any] = {
    "command": "python benchmarks/run.py",
    "repeats": 5,
    "seconds": 20.0,
    "limit": 100.0,
    "environment": {
        "cpu": "Abacus",
        "cores": 2,
        "threads": 2,
        "memory_bytes": 24 * 2**30,
        "gpus": [],
        "device": "cpu",
        "features": ["amx_bf16"],
        "bfloat16_kernel": "brg:amx",
        "platform": "Linux",
        "versions": {"python": "3.11", "torch": "2.13"},
        "commit": None,
        "time": "2026-11-21T00:00:00+00:00",
    },
}


def records(*pairs: tuple[Case, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {case.name: {"case": asdict(case), **record} for case, record in pairs}


def timed(case: Case, *seconds: float) -> tuple[Case, dict[str, Any]]:
    middle = sorted(seconds)[len(seconds) // 2]
    figures = {"seconds": list(seconds), "seconds_per_step": middle / case.steps}
    return case, {**figures, "first_seconds": 1.5, "peak_bytes": 300 * 2**20, "warnings": []}


def rows(page: str, title: str) -> list[dict[str, str]]:
    """The table under a heading, as one mapping for each row."""
    section = page.partition(f"## {title}\n")[2].partition("\n## ")[0]
    lines = [line.strip("| ").split(" | ") for line in section.splitlines() if line[:1] == "|"]
    head, rule, *body = lines
    assert set(rule) == {"---"}
    return [dict(zip(head, cells, strict=True)) for cells in body]


def test_of_several_side_by_side_the_time_of_one_is_shown() -> None:
    four = Case("iteration", "ours-exact", "bfloat16", 10, 80, sides=4)
    _, record = timed(four, 0.16, 0.32, 0.64)
    record["seconds_per_step"] /= 4
    page = render(HEADER, records((four, record)))
    (row,) = rows(page, "One iteration")
    assert row["method"] == "ours, exact, 4 side by side"
    shown = [row[name] for name in ("ms per inner step", "range", "s per iteration")]
    assert shown == ["1", "0.5 to 2", "0.08"]


def test_ratios_are_of_the_same_size() -> None:
    page = render(
        HEADER,
        records(
            timed(Case("match", "unrolled", batch=10, steps=10), 2.0, 1.0, 3.0),
            timed(Case("match", "unrolled", batch=100, steps=10), 50.0),
            timed(Case("match", "tesla", batch=10, steps=10), 4.0),
            timed(Case("match", "tesla", batch=10, steps=10, allocator="default"), 9.0),
            timed(Case("match", "ours-exact", batch=10, steps=10), 0.5),
            timed(Case("match", "ours-exact", batch=100, steps=80), 40.0),
        ),
    )
    table = rows(page, "One matching gradient")
    small = [row for row in table if row["B"] == "10"]
    assert [row["faster than (a)"] for row in small] == ["1.00", "0.50", "0.22", "4.00"]
    assert [row["faster than (b)"] for row in small] == ["2.00", "1.00", "0.44", "8.00"]
    assert small[0]["ms per inner step"] == "200.0"
    assert small[0]["range"] == "100.0 to 300.0"
    assert small[0]["n"] == "3"
    assert small[0]["peak MiB"] == "300"
    assert small[2]["method"].endswith("glibc's default malloc")
    long = table[-1]
    assert (long["B"], long["N"], long["s per gradient"]) == ("100", "80", "40")
    assert long["faster than (a)"] == "~10.00"
    assert long["faster than (b)"] == "-"


def test_short_times_keep_three_digits() -> None:
    values = 0.40049, 0.96512, 9.996, 10.04, 1234.56
    assert [to_digits(value) for value in values] == ["0.4", "0.965", "10", "10.0", "1,234.6"]


def test_the_floor_is_at_the_measured_ceiling() -> None:
    case = Case("match", "ours-exact", "bfloat16", batch=10, steps=10)
    ceiling = case.pass_flops * 10 * 11 / 0.25  # so an inner step takes a quarter of a second
    ceilings = {"side": 64, "float32": 1.0, "bfloat16": ceiling, "copy": 1e9}
    page = render(HEADER, records((Case("ceilings"), ceilings), timed(case, 5.0)))
    assert rows(page, "One matching gradient")[0]["of the floor"] == "50%"
    assert rows(page, "The machine's ceilings")[-1]["fastest measured"] == "1.0 GB/s"


def test_an_epoch_is_scaled_to_fifty_thousand_images() -> None:
    case = Case("teach", "eager", batch=250, steps=4)
    page = render(
        HEADER, records(timed(case, 2.0), timed(Case("teach", "ours", batch=250, steps=4), 1))
    )
    eager, ours = rows(page, "A teacher's epoch")
    assert eager["s per epoch"] == "100.0"
    assert ours["faster than eager"] == "2.00"


@pytest.mark.parametrize("kind", ["match", "iteration", "teach", "evaluate", "error"])
def test_what_was_not_measured_says_why(kind: str) -> None:
    how = {"teach": "ours", "evaluate": "ours", "error": ""}.get(kind, "unrolled")
    case = Case(kind, how, batch=500, steps=80)
    page = render(HEADER, records((case, {"skipped": "would need | 250 GiB"})))
    table = page[page.rindex("## ") :]
    assert "skipped: would need / 250 GiB" in table
    assert {line.count("|") for line in table.splitlines() if line[:1] == "|"} == {
        next(line for line in table.splitlines() if line[:1] == "|").count("|")
    }


def test_the_page_names_machine_and_warnings() -> None:
    case, record = timed(Case("match", "ours-exact", batch=10, steps=10), 1.0)
    page = render(HEADER, records((case, {**record, "warnings": ["ran uncompiled"]})))
    assert page.endswith(f"- {case.name}: ran uncompiled\n")
    page = render(HEADER, records((case, {**record, "keeps_freed_memory": False})))
    assert "Abacus" in page
    assert "amx_bf16" in page
    assert "use the AMX tiles (oneDNN's `brg:amx`)" in page
    assert page.endswith("freed memory could not be kept in this environment\n")
