"""What every page shares: tables made ready to be laid out, and a page rendered as one file.

The file opens anywhere, offline.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from typing import Any

from headwater import __version__
from headwater.evaluation.table import Chart, Table
from headwater.report.colours import DARK, LIGHT

NUMBER = re.compile(r"[-+]?\d[\d.,]*(e[-+]?\d+)?( ?%)?( \(.*\)| to [-+\d.]+)?")
LONG_LABEL = 18  # from here on a bar's label may need two lines on a phone


@dataclass(frozen=True)
class Picture:
    """A chart's place on the page.

    `height_px` is known beforehand, so that nothing moves when the chart is drawn.
    """

    element: str
    chart: Chart
    height_px: int
    label: str


@dataclass(frozen=True)
class Section:
    """A table's place on the page: its cells as text, and which columns hold numbers."""

    anchor: str
    table: Table
    titles: tuple[str, ...]
    numeric: tuple[bool, ...]
    cells: tuple[tuple[str, ...], ...]
    pictures: tuple[Picture, ...]


def sections_of(tables: Sequence[Table]) -> list[Section]:
    """The sections of a page, one a table, in their order."""
    return [_section(table) for table in tables]


def _section(table: Table) -> Section:
    cells = tuple(tuple(column.show(row) for column in table.columns) for row in table.rows)
    numeric = tuple(
        n > 0 and all(not line[n] or NUMBER.fullmatch(line[n]) for line in cells)
        for n in range(len(table.columns))
    )
    pictures = tuple(
        Picture(f"plot-{table.slug}-{n}", chart, height_of(chart), spoken(chart, bool(cells)))
        for n, chart in enumerate(table.charts)
    )
    titles = tuple(column.title for column in table.columns)
    return Section(table.slug, table, titles, numeric, cells, pictures)


def height_of(chart: Chart) -> int:
    """The height of a chart in pixels; that of bars grows with their number."""
    if chart.kind != "bars":
        return 320 if chart.kind == "lines" else 420
    labels = categories_of(chart)
    has_long = any(len(label) > LONG_LABEL for label in labels)
    row = (38 if has_long else 30) + 14 * (len(chart.series) - 1)
    return 64 + row * len(labels)


def categories_of(chart: Chart) -> list[str]:
    """The places on a chart's category axis, in the order in which its series name them."""
    return list(dict.fromkeys(str(x) for series in chart.series for x in series.x))


def is_numeric(chart: Chart) -> bool:
    """Whether x is a number throughout, rather than a category (a day is one)."""
    return chart.kind == "points" or not any(
        isinstance(x, str) for series in chart.series for x in series.x
    )


def spoken(chart: Chart, has_table: bool) -> str:
    """What a screen reader says in the picture's stead."""
    kinds = {"bars": "Bar chart", "lines": "Line chart", "points": "Scatter plot"}
    names = ", ".join(series.name for series in chart.series if series.name)
    of_series = f", for {names}" if names else ""
    pointer = " The figures are in the table that follows." if has_table else ""
    axes = f"{chart.y_title} by {chart.x_title}"
    return f"{kinds[chart.kind]}: {chart.title}. {axes}{of_series}.{pointer}"


def render(template: str, sections: Sequence[Section], **context: Any) -> str:
    """A page of a template, with its styles, its figures and the library that draws them in it."""
    from jinja2 import Environment, PackageLoader, select_autoescape

    environment = Environment(
        loader=PackageLoader("headwater.report", "."),
        autoescape=select_autoescape(),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    charts = {
        picture.element: asdict(picture.chart) | {"numeric": is_numeric(picture.chart)}
        for section in sections
        for picture in section.pictures
    }
    return environment.get_template(template).render(
        sections=sections,
        light=LIGHT,
        dark=DARK,
        version=__version__,
        charts=as_script({"charts": charts, "colours": {"light": LIGHT, "dark": DARK}}),
        echarts=files("headwater.report").joinpath("vendor/echarts.min.js").read_text(),
        **context,
    )


def flat(value: Mapping[str, Any], path: str = "") -> Mapping[str, Any]:
    """Nested mappings as one, their keys joined by dots; lists as JSON."""
    found: dict[str, Any] = {}
    for key, one in value.items():
        if isinstance(one, Mapping):
            found |= flat(one, f"{path}{key}.")
        else:
            found[f"{path}{key}"] = json.dumps(one) if isinstance(one, list | tuple) else one
    return found


def as_script(value: Any) -> str:
    """JSON that cannot end the script element it stands in; NaN and infinities become null."""
    text = json.dumps(_finite(value), allow_nan=False)
    return text.replace("</", "<\\/").replace("<!--", "<\\u0021--")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
