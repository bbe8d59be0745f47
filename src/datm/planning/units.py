"""Bytes and seconds as a person says them, to two digits or three: an estimate holds no more."""

UNITS = (("GB", 10**9), ("MB", 10**6), ("kB", 10**3))
SPANS = (("days", 86_400.0), ("h", 3_600.0), ("min", 60.0))


def bytes_text(count: float) -> str:
    """'12.9 GB', '430 MB'; units of powers of ten, as disks have them."""
    for unit, size in UNITS:
        # From 999.5 on it would be rounded to 1,000.
        if count >= 0.9995 * size:
            return f"{_short(count / size)} {unit}"
    return f"{round(count)} B"


def span(seconds: float) -> str:
    """'40 s', '3.4 min', '5.2 h', '6.2 days'."""
    for unit, size in SPANS:
        if seconds >= 2 * size or (unit == "min" and seconds >= 99.5):
            return f"{_short(seconds / size)} {unit}"
    return "under 1 s" if seconds < 1 else f"{round(seconds)} s"


def _short(value: float) -> str:
    return f"{value:.1f}" if value < 99.95 else f"{value:,.0f}"
