"""Bytes and seconds in words."""

import pytest

from datm.planning.units import bytes_text, span


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_949, "1.0 MB"),
        (99_960_000, "100 MB"),
        (12_928_404_000, "12.9 GB"),
        (1.5e13, "15,000 GB"),
    ],
)
def test_bytes(count: float, text: str) -> None:
    assert bytes_text(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "under 1 s"),
        (41.4, "41 s"),
        (99.4, "99 s"),
        (99.6, "1.7 min"),
        (3600, "60.0 min"),
        (7200, "2.0 h"),
        (172_800, "2.0 days"),
        (1e8, "1,157 days"),
    ],
)
def test_spans(seconds: float, text: str) -> None:
    assert span(seconds) == text
