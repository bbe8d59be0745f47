"""Lossless or not: what the evaluation records say, in one record and one sentence.

A record is a mapping {what, model, ipc, images, accuracies, mean, std, ...} as in evaluation.json.
Accuracies are fractions there and percentage points here. Lossless means: the mean accuracy of
networks trained on the distilled set is at or above that of the same network trained on all the
real data. The interval beside it says how sure the measured networks make that.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Record = Mapping[str, Any]

CONFIDENCE = 0.95
# a straight line in log(images) is trusted between neighbours at most this many times apart
CLOSE = 10.0


@dataclass(frozen=True)
class Verdict:
    """What was decided, and from what.

    `lossless` is None where a record is missing. `difference` is distilled minus all real data,
    in points; `interval` holds its 95 % confidence limits (Welch), None from a single network.
    """

    lossless: bool | None
    sentence: str
    difference: float | None = None
    interval: tuple[float, float] | None = None
    distilled: Record | None = None
    full: Record | None = None

    @property
    def headline(self) -> str:
        if self.lossless is None:
            return "Lossless or not: not known yet"
        return "Lossless here" if self.lossless else "Not lossless here"

    @property
    def within_noise(self) -> bool | None:
        """Whether zero lies in the interval: more networks could turn the verdict."""
        if self.interval is None:
            return None
        low, high = self.interval
        return low <= 0 <= high


@dataclass(frozen=True)
class RealEquivalent:
    """How many random real images reach an accuracy: between `low` and `high` measured ones.

    `low` is None where the smallest measured number is already enough, `high` is None where the
    largest is not. `estimate` lies on the straight line between the two in log(images).
    """

    low: int | None
    high: int | None
    estimate: int | None = None

    @property
    def sentence(self) -> str:
        if self.low is None:
            return f"Fewer than {self.high:,} random real images reach the same accuracy."
        if self.high is None:
            return (
                f"No measured number of real images reaches the same accuracy "
                f"(the largest: {self.low:,})."
            )
        between = f"between {self.low:,} and {self.high:,}"
        if self.low == self.high:
            return f"{self.low:,} random real images reach the same accuracy."
        if self.estimate is None:
            return f"It takes {between} random real images to reach the same accuracy."
        return (
            f"It takes about {self.estimate:,} random real images to reach the same accuracy "
            f"(interpolated {between}, which were measured)."
        )


def main_model(records: Sequence[Record], preferred: str | None = None) -> str | None:
    """The network the verdict is about: `preferred` if evaluated, else the first comparable one."""
    models = {
        what: [r["model"] for r in records if r["what"] == what] for what in ("distilled", "full")
    }
    both = [model for model in models["distilled"] if model in models["full"]]
    if preferred in [r["model"] for r in records]:
        return preferred
    every = both or models["distilled"] or [r["model"] for r in records]
    return every[0] if every else None


def pick(records: Sequence[Record], what: str, model: str | None) -> Record | None:
    """The first record of this kind and network."""
    return next((r for r in records if r["what"] == what and r["model"] == model), None)


def verdict(records: Sequence[Record], model: str | None = None) -> Verdict:
    """Whether the distilled set is lossless for `model` (default: the first comparable network)."""
    model = main_model(records, model)
    distilled, full = pick(records, "distilled", model), pick(records, "full", model)
    if distilled is None or full is None:
        missing = [
            name
            for name, record in (("the distilled set", distilled), ("all the real data", full))
            if record is None
        ]
        sentence = f"Nothing was measured on {' and on '.join(missing)} yet: run `datm evaluate`."
        return Verdict(None, sentence, distilled=distilled, full=full)
    difference = 100 * (distilled["mean"] - full["mean"])
    lossless = bool(distilled["mean"] >= full["mean"])
    interval = welch_interval(distilled, full)
    return Verdict(
        lossless,
        _sentence(distilled, full, difference, interval),
        difference,
        interval,
        distilled,
        full,
    )


def _sentence(
    distilled: Record, full: Record, difference: float, interval: tuple[float, float] | None
) -> str:
    if difference == 0:
        gap = "exactly level"
    else:
        gap = f"{points(difference)} points {'above' if difference > 0 else 'below'}"
    text = (
        f"{distilled['model']} trained on the {distilled['images']:,} distilled images reaches "
        f"{accuracy(distilled)} % ({networks(distilled)}), on all {full['images']:,} real images "
        f"{accuracy(full)} % ({networks(full)}): {gap}"
    )
    if interval is None:
        return f"{text}; a single network on a side leaves the noise unknown."
    within = interval[0] <= 0 <= interval[1]
    noise = "within the noise of these networks" if within else "more than the noise"
    return f"{text} (95 % interval {span(interval)}: {noise})."


def welch_interval(first: Record, second: Record) -> tuple[float, float] | None:
    """95 % confidence limits of first minus second mean, in points; None from a single network.

    Welch's t interval from the networks' sample standard deviations.
    """
    n1, n2 = len(first["accuracies"]), len(second["accuracies"])
    if n1 < 2 or n2 < 2 or std(first) is None or std(second) is None:
        return None
    from scipy.special import stdtrit

    v1, v2 = (std(first) or 0.0) ** 2 / n1, (std(second) or 0.0) ** 2 / n2
    difference = first["mean"] - second["mean"]
    error = math.sqrt(v1 + v2)
    if error == 0:
        return 100 * difference, 100 * difference
    freedom = (v1 + v2) ** 2 / (v1**2 / (n1 - 1) + v2**2 / (n2 - 1))
    reach = float(stdtrit(freedom, (1 + CONFIDENCE) / 2)) * error
    return 100 * (difference - reach), 100 * (difference + reach)


def real_curve(records: Sequence[Record], model: str | None) -> list[Record]:
    """Random real images at growing numbers, ending in all of them; one record per number."""
    found = {
        r["images"]: r for r in records if r["model"] == model and r["what"] in ("random", "full")
    }
    return [found[images] for images in sorted(found)]


def real_images_needed(
    records: Sequence[Record], model: str | None, mean: float
) -> RealEquivalent | None:
    """How many random real images reach accuracy `mean` (a fraction); None without a curve."""
    curve = real_curve(records, model)
    if not any(r["what"] == "random" for r in curve):
        return None
    above = next((i for i, r in enumerate(curve) if r["mean"] >= mean), None)
    if above is None:
        return RealEquivalent(curve[-1]["images"], None)
    high = curve[above]
    if high["mean"] == mean:
        return RealEquivalent(high["images"], high["images"], high["images"])
    if above == 0:
        return RealEquivalent(None, high["images"])
    low = curve[above - 1]
    if high["images"] > CLOSE * low["images"]:
        return RealEquivalent(low["images"], high["images"])
    share = (mean - low["mean"]) / (high["mean"] - low["mean"])
    estimate = low["images"] * (high["images"] / low["images"]) ** share
    return RealEquivalent(low["images"], high["images"], round(estimate))


def std(record: Record) -> float | None:
    """The sample standard deviation over networks, or None where there is none to speak of."""
    value = record.get("std")
    if value is None or not math.isfinite(value) or len(record["accuracies"]) < 2:
        return None
    return float(value)


def accuracy(record: Record) -> str:
    """ "88.3 ± 0.9" in percent, without the spread of a single network."""
    spread = std(record)
    return f"{100 * record['mean']:.1f}" + ("" if spread is None else f" ± {100 * spread:.1f}")


def networks(record: Record) -> str:
    """ "5 networks"."""
    count = len(record["accuracies"])
    return f"{count} network" + ("" if count == 1 else "s")


def span(interval: tuple[float, float]) -> str:
    """ "−0.4 to +0.6"."""
    return " to ".join(signed(limit) for limit in interval)


def signed(difference: float) -> str:
    """A difference in points with its sign: "+4.1", "−0.02", "0.0"."""
    if difference == 0:
        return "0.0"
    return ("−" if difference < 0 else "+") + points(difference)


def points(difference: float) -> str:
    """The size of a difference in points: a decimal, or more where it would read as nought."""
    size = abs(difference)
    return f"{size:.1f}" if size >= 0.05 else f"{size:.2f}" if size >= 0.005 else f"{size:.1g}"
