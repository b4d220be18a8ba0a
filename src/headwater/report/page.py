"""What every page shares: its colours, and tables made ready to be laid out. A page is one file
that opens anywhere, offline.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from typing import Any

from headwater.evaluation.table import Chart, Table
from headwater.version import __version__

# The colours of pages and pictures alike; each ink stands out from its paper by 4.5 to 1 or more.
LIGHT: dict[str, Any] = {
    "ink": "#17212b",
    "dim": "#55636f",
    "line": "#dde4e9",
    "paper": "#ffffff",
    "wash": "#f4f7f8",
    "accent": "#0b6e99",
    "good": "#1b7a68",
    "bad": "#b63a26",
    "flat": "#6f7d89",
    "doubt": "#965c00",
    "series": [
        "#0b6e99",
        "#cf7a1c",
        "#2a9d8f",
        "#8460b8",
        "#b8434e",
        "#5c6b78",
        "#7d9428",
        "#b8648f",
        "#3f5fae",
    ],
}
DARK: dict[str, Any] = {
    "ink": "#e4ebf0",
    "dim": "#9dacb8",
    "line": "#2a3641",
    "paper": "#10171d",
    "wash": "#18222a",
    "accent": "#62bfe6",
    "good": "#52c7ae",
    "bad": "#ef8470",
    "flat": "#93a1ad",
    "doubt": "#e3ab4f",
    "series": [
        "#62bfe6",
        "#eba257",
        "#52c7ae",
        "#b39be0",
        "#e8868e",
        "#a5b3be",
        "#b3cb62",
        "#e0a0c4",
        "#93aaf0",
    ],
}
NUMBER = re.compile(r"[-+]?\d[\d.,]*(e[-+]?\d+)?( ?%)?( \(.*\)| to [-+\d.]+)?")
LONG_LABEL = 18  # from here on a bar's label may need two lines on a phone


@dataclass(frozen=True)
class Picture:
    """A chart's place on the page. `height_px` is known beforehand, so that nothing moves when it
    is drawn.
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
    return Section(
        table.slug, table, tuple(column.title for column in table.columns), numeric, cells, pictures
    )


def height_of(chart: Chart) -> int:
    """Pixels: bars grow with their number."""
    if chart.kind != "bars":
        return 320 if chart.kind == "lines" else 420
    labels = categories_of(chart)
    row = (38 if any(len(label) > LONG_LABEL for label in labels) else 30) + 14 * (
        len(chart.series) - 1
    )
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
    series = ", ".join(one.name for one in chart.series if one.name)
    pointer = " The figures are in the table that follows." if has_table else ""
    return (
        f"{kinds[chart.kind]}: {chart.title}. {chart.y_title} by"
        f" {chart.x_title}{f', for {series}' if series else ''}.{pointer}"
    )


def render(template: str, sections: Sequence[Section], **context: Any) -> str:
    """A page of `template` with everything in it: styles, figures, and the library that draws
    them.
    """
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


def flat(value: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Nested mappings as one, keys joined by dots; lists as JSON."""
    found: dict[str, Any] = {}
    for key, one in value.items():
        if isinstance(one, Mapping):
            found |= flat(one, f"{path}{key}.")
        else:
            found[f"{path}{key}"] = json.dumps(one) if isinstance(one, list | tuple) else one
    return found


def as_script(value: Any) -> str:
    """JSON that cannot end the script element it stands in; what is not a number is nothing."""
    return (
        json.dumps(_finite(value), allow_nan=False)
        .replace("</", "<\\/")
        .replace("<!--", "<\\u0021--")
    )


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return (
        None
        if isinstance(value, float) and (value != value or abs(value) == float("inf"))
        else value
    )
