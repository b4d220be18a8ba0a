"""Pictures: a chart as PNG, for slides and mails; no browser is needed to make one. Equal charts
give equal bytes.
"""

from __future__ import annotations

import datetime as dt
import io
import math
import textwrap
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from headwater.evaluation.table import Chart, Series
from headwater.report.headline import tone_of
from headwater.report.page import LIGHT, categories_of, height_of, is_numeric

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH_INCHES, PIXELS_PER_INCH = 8.0, 160
MARKERS = "osD^vPX*h"
LABELLED_POINTS = 16  # more would hide each other
TICKS = 8


def picture(chart: Chart) -> bytes:
    """The chart in the page's light colours."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context(
        {
            "font.family": "DejaVu Sans",
            "font.size": 10,
            "text.color": LIGHT["ink"],
            "axes.labelcolor": LIGHT["dim"],
            "xtick.color": LIGHT["dim"],
            "ytick.color": LIGHT["dim"],
            "axes.edgecolor": LIGHT["line"],
            "svg.hashsalt": "0",
        }
    ):
        figure = Figure(
            (WIDTH_INCHES, 1.0 + height_of(chart) / 80),
            dpi=PIXELS_PER_INCH,
            layout="constrained",
            facecolor=LIGHT["paper"],
        )
        FigureCanvasAgg(figure)
        axes = figure.add_subplot(facecolor=LIGHT["paper"])
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(
            visible=True,
            color=LIGHT["line"],
            linewidth=0.8,
            axis="x" if chart.kind == "bars" else "both",
        )
        axes.set_axisbelow(True)
        {"bars": _bars, "lines": _lines, "points": _points}[chart.kind](axes, chart)
        if chart.diagonal:
            _diagonal(axes, chart)
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
        note = "\n" + textwrap.fill(chart.note, 100) if chart.note else ""
        figure.suptitle(
            textwrap.fill(chart.title, 70), x=0.01, ha="left", fontsize=13, fontweight="bold"
        )
        axes.set_title(note.strip(), loc="left", fontsize=9, color=LIGHT["dim"])
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _bars(axes: Axes, chart: Chart) -> None:
    places = {name: n for n, name in enumerate(categories_of(chart))}
    height = 0.62 / len(chart.series)
    for n, series in enumerate(chart.series):
        rows = [row for row in _rows(series) if row[1] is not None]
        at = [places[str(x)] + (n - (len(chart.series) - 1) / 2) * height * 1.1 for x, *_ in rows]
        axes.barh(
            at,
            [value for _, value, *_ in rows],
            height,
            color=[_bar_colour(chart, n, low, high) for *_, low, high in rows],
            label=series.name,
        )
        for place, (_, value, low, high) in zip(at, rows, strict=True):
            if low is not None and high is not None:
                axes.errorbar(
                    value,
                    place,
                    xerr=[[max(0.0, value - low)], [max(0.0, high - value)]],
                    color=LIGHT["ink"],
                    capsize=3,
                    linewidth=1.3,
                )
    axes.axvline(0, color=LIGHT["flat"], linewidth=1)
    axes.set_yticks(
        list(places.values()), [textwrap.fill(name, 34) for name in places], color=LIGHT["ink"]
    )
    axes.set_ylim(len(places) - 0.4, -0.6)


def _bar_colour(chart: Chart, n: int, low: float | None, high: float | None) -> str:
    """By what its interval says where there is one series; by series where there are more."""
    if len(chart.series) > 1 or low is None or high is None:
        return _series_colour(n)
    return str(LIGHT[tone_of(low, high)])


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
        at, values = [float(x) for x in series.x], _holes(series.values)
        axes.scatter(
            at,
            values,
            s=36 if few else 9,
            color=_series_colour(n),
            alpha=0.8,
            linewidths=0,
            marker=MARKERS[n % len(MARKERS)],
            label=series.name,
        )
        if series.low and series.high:
            axes.vlines(
                at, _holes(series.low), _holes(series.high), color=_series_colour(n), linewidth=1.2
            )
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
    axes.plot(
        [min(found), max(found)],
        [min(found), max(found)],
        color=LIGHT["flat"],
        linestyle="--",
        linewidth=1,
    )


def _day(name: str) -> str:
    """A day without its year, as the page has it."""
    try:
        day = dt.date.fromisoformat(name)
    except ValueError:
        return name
    return f"{day:%b} {day.day}"


def _series_colour(n: int) -> str:
    return str(LIGHT["series"][n % len(LIGHT["series"])])


def _holes(values: tuple[float | None, ...]) -> list[float]:
    return [math.nan if value is None else value for value in values]


def _rows(series: Series) -> Iterable[tuple[Any, ...]]:
    """(x, value, low, high) of each place; None where there is none."""
    nothing = (None,) * len(series.x)
    return zip(series.x, series.values, series.low or nothing, series.high or nothing, strict=True)
