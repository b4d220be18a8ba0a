"""Table: what an offline table says, once, for the terminal, JSON, CSV and the report.

It carries the charts that draw it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Column:
    """A column: the rows' key, its title, and how its numbers are written.

    `spec` is a format spec such as `+.2f`; text where empty. With `low` and `high`, keys of an
    interval's bounds, the cell reads `value (low, high)`.
    """

    key: str
    title: str
    spec: str = ""
    low: str = ""
    high: str = ""

    def show(self, row: Mapping[str, Any]) -> str:
        """The cell as people read it; empty where there is nothing."""
        value = self._one(row.get(self.key))
        if not (value and self.low and self.high):
            return value
        bounds = [self._one(row.get(key)) for key in (self.low, self.high)]
        return f"{value} ({bounds[0]}, {bounds[1]})" if all(bounds) else value

    def _one(self, value: Any) -> str:
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return ""
        return format(value, self.spec) if self.spec and not isinstance(value, str) else str(value)


@dataclass(frozen=True)
class Series:
    """One line, set of bars or cloud of points: `values` over `x` (categories or numbers).

    Bounds and labels are empty where there are none.
    """

    name: str
    x: tuple[str | float, ...]
    values: tuple[float | None, ...]
    low: tuple[float | None, ...] = ()
    high: tuple[float | None, ...] = ()
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Chart:
    """A picture of a table.

    `bars` lie on their side, one for each category of their one series; `lines` may have bands;
    `points` have labels. `name` is fit for a file's name; a `diagonal` is drawn where values on it
    are right (calibration).
    """

    name: str
    title: str
    kind: Literal["bars", "lines", "points"]
    x_title: str
    y_title: str
    series: tuple[Series, ...]
    note: str = ""
    diagonal: bool = False


@dataclass(frozen=True)
class Table:
    """One table.

    `answer` says in a sentence what it shows; `rows` are mappings, of which `columns` are shown.
    Rows of lifts have the fields of `evaluation.Lift`.
    """

    name: str
    title: str
    consumer: str
    first_day: str
    last_day: str
    answer: str
    columns: tuple[Column, ...]
    rows: tuple[Mapping[str, Any], ...]
    notes: tuple[str, ...] = ()
    charts: tuple[Chart, ...] = ()

    @property
    def slug(self) -> str:
        """A name for its files: that of the table and of the consumer."""
        return f"{self.name}-{self.consumer}"

    def as_json(self) -> dict[str, Any]:
        """All of it, as JSON has it."""
        return {"table": self.name} | {
            key: value for key, value in asdict(self).items() if key != "name"
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Table:
        """The inverse of `as_json`."""
        charts = tuple(
            Chart(**{**chart, "series": tuple(_series(one) for one in chart["series"])})
            for chart in raw["charts"]
        )
        return cls(
            raw["table"],
            raw["title"],
            raw["consumer"],
            raw["first_day"],
            raw["last_day"],
            raw["answer"],
            tuple(Column(**column) for column in raw["columns"]),
            tuple(raw["rows"]),
            tuple(raw["notes"]),
            charts,
        )


def _series(raw: Mapping[str, Any]) -> Series:
    parts: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list | tuple) else value
        for key, value in raw.items()
    }
    return Series(**parts)
