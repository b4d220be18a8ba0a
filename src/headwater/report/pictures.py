"""Pictures: a chart as PNG, for slides and mails, made without a browser.

Equal charts give equal bytes.
"""

from __future__ import annotations

import datetime as dt
import io
import math
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from headwater.evaluation.table import Chart, Series
from headwater.evaluation.verdict import tone_of
from headwater.report.colours import LIGHT
from headwater.report.page import categories_of, height_of, is_numeric

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH_INCHES = 8.0
PIXELS_PER_INCH = 160
MARKERS = "osD^vPX*h"
LABELLED_POINTS = 16  # more would hide each other
TICKS = 8
STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": LIGHT["ink"],
    "axes.labelcolor": LIGHT["dim"],
    "xtick.color": LIGHT["dim"],
    "ytick.color": LIGHT["dim"],
    "axes.edgecolor": LIGHT["line"],
    "svg.hashsalt": "0",
}


def picture(chart: Chart) -> bytes:
    """The PNG of a chart, in the page's light colours."""
    import matplotlib as mpl

    draw = {"bars": _bars, "lines": _lines, "points": _points}[chart.kind]
    with mpl.rc_context(STYLE):
        figure, axes = _empty(chart)
        draw(axes, chart)
        if chart.diagonal:
            _diagonal(axes, chart)
        _titles(figure, axes, chart)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _empty(chart: Chart) -> tuple[Figure, Axes]:
    """Paper of the chart's height, with a grid."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(
        (WIDTH_INCHES, 1.0 + height_of(chart) / 80),
        dpi=PIXELS_PER_INCH,
        layout="constrained",
        facecolor=LIGHT["paper"],
    )
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(facecolor=LIGHT["paper"])
    axes.spines[["top", "right"]].set_visible(False)
    across: Literal["x", "both"] = "x" if chart.kind == "bars" else "both"
    axes.grid(visible=True, color=LIGHT["line"], linewidth=0.8, axis=across)
    axes.set_axisbelow(True)
    return figure, axes


def _titles(figure: Figure, axes: Axes, chart: Chart) -> None:
    """What stands around the drawing: axes' titles, a legend, the title and the note."""
    axes.set_xlabel(chart.x_title)
    if chart.kind != "bars":
        axes.set_ylabel(chart.y_title)
    if len(chart.series) > 1:
        figure.legend(
            loc="outside lower left",
            ncols=4,
            frameon=False,
            markerscale=1 if chart.kind == "lines" else 2,
            labelcolor=LIGHT["ink"],
        )
    title = textwrap.fill(chart.title, 70)
    figure.suptitle(title, x=0.01, ha="left", fontsize=13, fontweight="bold")
    axes.set_title(textwrap.fill(chart.note, 100), loc="left", fontsize=9, color=LIGHT["dim"])


@dataclass(frozen=True)
class _Mark:
    """One value of a series, at a place; its bounds are None where it has none."""

    place: str
    value: float
    low: float | None
    high: float | None


def _bars(axes: Axes, chart: Chart) -> None:
    places = {name: n for n, name in enumerate(categories_of(chart))}
    many = len(chart.series)
    height = 0.62 / many
    for n, series in enumerate(chart.series):
        marks = _marks(series)
        shift = (n - (many - 1) / 2) * height * 1.1
        at = [places[mark.place] + shift for mark in marks]
        axes.barh(
            at,
            [mark.value for mark in marks],
            height,
            color=[_bar_colour(chart, n, mark) for mark in marks],
            label=series.name,
        )
        for place, mark in zip(at, marks, strict=True):
            _whisker(axes, place, mark)
    axes.axvline(0, color=LIGHT["flat"], linewidth=1)
    names = [textwrap.fill(name, 34) for name in places]
    axes.set_yticks(list(places.values()), names, color=LIGHT["ink"])
    axes.set_ylim(len(places) - 0.4, -0.6)


def _whisker(axes: Axes, place: float, mark: _Mark) -> None:
    """The interval of a bar, where it has one."""
    if mark.low is None or mark.high is None:
        return
    axes.errorbar(
        mark.value,
        place,
        xerr=[[max(0.0, mark.value - mark.low)], [max(0.0, mark.high - mark.value)]],
        color=LIGHT["ink"],
        capsize=3,
        linewidth=1.3,
    )


def _bar_colour(chart: Chart, n: int, mark: _Mark) -> str:
    """By what its interval says where there is one series; by series where there are more."""
    if len(chart.series) > 1 or mark.low is None or mark.high is None:
        return _series_colour(n)
    return str(LIGHT[tone_of(mark.low, mark.high)])


def _lines(axes: Axes, chart: Chart) -> None:
    numeric = is_numeric(chart)
    places = {name: n for n, name in enumerate(categories_of(chart))}
    for n, series in enumerate(chart.series):
        colour = _series_colour(n)
        at = [float(x) if numeric else places[str(x)] for x in series.x]
        axes.plot(
            at,
            _holes(series.values),
            color=colour,
            marker=MARKERS[n % len(MARKERS)],
            markersize=4,
            linewidth=1.8,
            label=series.name,
        )
        if series.low and series.high:
            axes.fill_between(
                at, _holes(series.low), _holes(series.high), color=colour, alpha=0.16, linewidth=0
            )
    if not numeric:
        shown = list(places.items())[:: math.ceil(len(places) / TICKS)]
        axes.set_xticks([at for _, at in shown], [_day(name) for name, _ in shown])


def _points(axes: Axes, chart: Chart) -> None:
    few = sum(len(series.x) for series in chart.series) <= LABELLED_POINTS
    for n, series in enumerate(chart.series):
        colour = _series_colour(n)
        at = [float(x) for x in series.x]
        values = _holes(series.values)
        axes.scatter(
            at,
            values,
            s=36 if few else 9,
            color=colour,
            alpha=0.8,
            linewidths=0,
            marker=MARKERS[n % len(MARKERS)],
            label=series.name,
        )
        if series.low and series.high:
            axes.vlines(at, _holes(series.low), _holes(series.high), color=colour, linewidth=1.2)
        for label, x, y in zip(series.labels if few else (), at, values, strict=False):
            axes.annotate(
                label,
                (x, y),
                xytext=(5, 4),
                textcoords="offset points",
                fontsize=8,
                color=LIGHT["ink"],
            )


def _diagonal(axes: Axes, chart: Chart) -> None:
    found = [
        float(value)
        for series in chart.series
        for value in (*series.x, *series.values)
        if value is not None
    ]
    ends = [min(found), max(found)]
    axes.plot(ends, ends, color=LIGHT["flat"], linestyle="--", linewidth=1)


def _day(name: str) -> str:
    """A day without its year, as the page has it; another name as it is."""
    try:
        day = dt.date.fromisoformat(name)
    except ValueError:
        return name
    return f"{day:%b} {day.day}"


def _series_colour(n: int) -> str:
    return str(LIGHT["series"][n % len(LIGHT["series"])])


def _holes(values: tuple[float | None, ...]) -> list[float]:
    return [math.nan if value is None else value for value in values]


def _marks(series: Series) -> list[_Mark]:
    """The values of a series that are there."""
    nothing: tuple[Any, ...] = (None,) * len(series.x)
    found = zip(series.x, series.values, series.low or nothing, series.high or nothing, strict=True)
    return [_Mark(str(x), value, low, high) for x, value, low, high in found if value is not None]
