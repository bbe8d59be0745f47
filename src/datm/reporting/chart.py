"""A small chart as inline SVG: axes, lines, bands, points. Colours come from the page's CSS.

Series carry a CSS class ("c1" to "c5", see page.css), so one drawing serves a light and a dark
page. Coordinates are data coordinates; what is not finite, or not positive on a log axis, is left
out. Drawn on a canvas of 440 x 290 units, which keeps the text readable on a phone.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 440.0, 290.0
LEFT, RIGHT, TOP, BOTTOM = 48.0, 14.0, 26.0, 40.0
MAJOR = 5  # ticks aimed at


@dataclass(frozen=True)
class Axis:
    """A stretch of numbers `low` to `high` and what is written beside it.

    `unit` follows every tick; `whole` allows ticks at whole numbers only.
    """

    label: str
    low: float
    high: float
    log: bool = False
    unit: str = ""
    whole: bool = False

    @classmethod
    def around(
        cls,
        label: str,
        values: Iterable[float],
        *,
        log: bool = False,
        unit: str = "",
        whole: bool = False,
        pad: float = 0.06,
    ) -> "Axis":
        """An axis that holds all usable `values` with some room at both ends."""
        usable = [v for v in values if math.isfinite(v) and (v > 0 or not log)]
        if not usable:
            usable = [1.0]
        low, high = min(usable), max(usable)
        if log:
            low, high = math.log10(low), math.log10(high)
        if low == high:
            half = 0.15 if log else max(abs(low) * 0.1, 0.5 if whole else 1e-3)
            low, high = low - half, high + half
        room = pad * (high - low)
        low, high = low - room, high + room
        return cls(label, 10**low if log else low, 10**high if log else high, log, unit, whole)

    def share(self, value: float) -> float | None:
        """Where `value` lies: 0 at the low end, 1 at the high; None where it cannot be drawn."""
        if not math.isfinite(value) or (self.log and value <= 0):
            return None
        if self.log:
            low, high = math.log10(self.low), math.log10(self.high)
            return (math.log10(value) - low) / (high - low)
        return (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        return self._log_ticks() if self.log else self._linear_ticks()

    def _linear_ticks(self) -> list[float]:
        raw = (self.high - self.low) / MAJOR
        power = 10 ** math.floor(math.log10(raw))
        step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * 0.9)
        if self.whole:
            step = max(1, round(step))
        first, last = math.ceil(self.low / step), math.floor(self.high / step)
        return [float(f"{i * step:.10g}") for i in range(first, last + 1)]

    def _log_ticks(self) -> list[float]:
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        for marks in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 7, 8)):
            ticks = [
                tick
                for d in decades
                for m in marks
                if self.low <= (tick := m * 10.0**d) <= self.high
            ]
            if len(ticks) >= 3:
                return ticks[:: max(1, -(-len(ticks) // 8))]
        return Axis(self.label, self.low, self.high)._linear_ticks()

    def text(self, value: float) -> str:
        """A tick's number, short."""
        if value != 0 and not 1e-3 <= abs(value) < 1e6:
            mantissa, exponent = f"{value:e}".split("e")
            return f"{float(mantissa):.3g}e{int(exponent)}{self.unit}"
        return f"{value:,.6g}{self.unit}" if abs(value) < 1000 else f"{value:,.0f}{self.unit}"


class Chart:
    """Draws series on two axes, in the order of the calls; `svg()` gives the element."""

    def __init__(self, x: Axis, y: Axis, description: str) -> None:
        self.x, self.y, self.description = x, y, description
        self._marks: list[str] = []
        self._legend: list[str] = []

    def line(self, xs: Sequence[float], ys: Sequence[float], style: str, legend: str = "") -> None:
        """Straight lines through the points; a point that cannot be drawn leaves a gap."""
        path, pen_down = [], False
        for x, y in zip(xs, ys, strict=True):
            place = self._place(x, y)
            if place is not None:
                path.append(f"{'L' if pen_down else 'M'}{place[0]:.1f} {place[1]:.1f}")
            pen_down = place is not None
        if path:
            self._marks.append(f'<path class="line {style}" d="{"".join(path)}"/>')
            self._say(legend, f"line {style}")

    def band(
        self, xs: Sequence[float], low: Sequence[float], high: Sequence[float], style: str
    ) -> None:
        """The area between two lines."""
        upper = [self._place(x, y) for x, y in zip(xs, high, strict=True)]
        lower = [self._place(x, y) for x, y in zip(xs, low, strict=True)]
        corners = [place for place in (*upper, *reversed(lower)) if place is not None]
        if len(corners) > 2:
            text = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
            self._marks.append(f'<polygon class="band {style}" points="{text}"/>')

    def points(
        self,
        xs: Sequence[float],
        ys: Sequence[float],
        style: str,
        titles: Sequence[str] = (),
        radius: float = 3.5,
        legend: str = "",
    ) -> None:
        """Dots; `titles` show on hovering."""
        drawn = False
        for i, (x, y) in enumerate(zip(xs, ys, strict=True)):
            place = self._place(x, y)
            if place is None:
                continue
            title = f"<title>{escape(titles[i])}</title>" if titles else ""
            dot = (
                f'<circle class="dot {style}" cx="{place[0]:.1f}" cy="{place[1]:.1f}" r="{radius}"'
            )
            self._marks.append(f"{dot}>{title}</circle>" if title else f"{dot}/>")
            drawn = True
        if drawn:
            self._say(legend, f"dot {style}")

    def spread(
        self, xs: Sequence[float], ys: Sequence[float], stds: Sequence[float], style: str
    ) -> None:
        """Upright bars of one standard deviation to each side."""
        for x, y, std in zip(xs, ys, stds, strict=True):
            low, high = self._place(x, y - std), self._place(x, y + std)
            if std > 0 and low is not None and high is not None:
                caps = "".join(f"M{low[0] - 3:.1f} {e:.1f}h6" for e in (low[1], high[1]))
                stem = f"M{low[0]:.1f} {low[1]:.1f}V{high[1]:.1f}"
                self._marks.append(f'<path class="line thin {style}" d="{stem}{caps}"/>')

    def level(self, y: float, style: str, legend: str = "") -> None:
        """A dashed line across at `y`."""
        place = self._place(self.x.low, y)
        if place is not None:
            across = f"M{LEFT} {place[1]:.1f}H{WIDTH - RIGHT}"
            self._marks.append(f'<path class="line dashed {style}" d="{across}"/>')
            self._say(legend, f"line dashed {style}")

    def upright(self, x: float, style: str, legend: str = "") -> None:
        """A dashed line from bottom to top at `x`."""
        place = self._place(x, self.y.high)
        if place is not None:
            down = f"M{place[0]:.1f} {TOP}V{HEIGHT - BOTTOM}"
            self._marks.append(f'<path class="line dashed {style}" d="{down}"/>')
            self._say(legend, f"line dashed {style}")

    def stretch(self, low: float, high: float, style: str, legend: str = "") -> None:
        """A shaded stretch of the x axis."""
        self.band([low, high], [self.y.low] * 2, [self.y.high] * 2, style)
        self._say(legend, f"area {style}")

    def svg(self) -> str:
        """The chart, its legend below it."""
        legend = f'<p class="legend">{"".join(self._legend)}</p>' if self._legend else ""
        return (
            f'<svg class="chart" viewBox="0 0 {WIDTH:.0f} {HEIGHT:.0f}" role="img" '
            f'aria-label="{escape(self.description)}">{self._frame()}{"".join(self._marks)}'
            f"</svg>{legend}"
        )

    def _frame(self) -> str:
        bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
        parts = [f'<text class="name" x="2" y="14">{escape(self.y.label)}</text>']
        for tick in self.y.ticks():
            place = self._place(self.x.low, tick)
            if place is not None:
                parts.append(f'<path class="grid" d="M{LEFT} {place[1]:.1f}H{right}"/>')
                text = escape(self.y.text(tick))
                parts.append(f'<text class="y" x="{LEFT - 6}" y="{place[1] + 4:.1f}">{text}</text>')
        for tick in self.x.ticks():
            place = self._place(tick, self.y.low)
            if place is not None:
                parts.append(f'<path class="axis" d="M{place[0]:.1f} {bottom}v4"/>')
                text = escape(self.x.text(tick))
                parts.append(f'<text class="x" x="{place[0]:.1f}" y="{bottom + 17}">{text}</text>')
        parts.append(f'<path class="axis" d="M{LEFT} {bottom}H{right}"/>')
        label = escape(self.x.label)
        parts.append(f'<text class="name end" x="{right}" y="{HEIGHT - 4}">{label}</text>')
        return "".join(parts)

    def _place(self, x: float, y: float) -> tuple[float, float] | None:
        """Canvas coordinates; a point beyond an axis is put on its end."""
        across, up = self.x.share(x), self.y.share(y)
        if across is None or up is None:
            return None
        across, up = min(max(across, 0.0), 1.0), min(max(up, 0.0), 1.0)
        return (
            LEFT + across * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM),
        )

    def _say(self, legend: str, style: str) -> None:
        if legend:
            mark = {
                "dot": '<circle class="{}" cx="9" cy="6" r="4"/>',
                "area": '<rect class="{}" x="1" y="1" width="16" height="10"/>',
                "line": '<path class="{}" d="M0 6h18"/>',
            }[style.split()[0]].format(style)
            key = f'<svg class="key" viewBox="0 0 18 12" aria-hidden="true">{mark}</svg>'
            self._legend.append(f"<span>{key}{escape(legend)}</span>")
