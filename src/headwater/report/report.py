"""The report: one HTML file that opens anywhere, offline, with the answer first.

Beside it lie a CSV of each table and a PNG of each plot.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from headwater.config import FactoryConfig, load_config, warehouse_of
from headwater.console import SILENT, Console
from headwater.errors import StoreError
from headwater.evaluation.table import Table
from headwater.files import read_json, write_atomic
from headwater.report.headline import headlines
from headwater.report.operations import operations
from headwater.report.page import flat, render, sections_of
from headwater.report.pictures import picture
from headwater.schema import Schema
from headwater.serving.reader import Reader
from headwater.store import MAIN, read_catalog
from headwater.store.catalog import home_of
from headwater.studies import report_tables


def write_report(
    factory: Path, tables: Sequence[Table] | None = None, console: Console = SILENT
) -> Path:
    """Write `reports/index.html` in the factory's warehouse, with `tables/` and `plots/` beside it.

    Returns the page's path. The same warehouse gives the same bytes. `tables` saves making them
    again. Raises StoreError before the first day.
    """
    config = load_config(factory)
    root = factory.resolve().parent
    warehouse = warehouse_of(config, root)
    live = read_catalog(warehouse).live
    days = _reports_of_days(warehouse, live.lane if live else MAIN)
    if tables is None:
        console.log("making the tables, with bootstrap intervals")
        tables = report_tables(config, root, console)
    running = operations(days, Reader(config, root), Schema.from_config(config, root))
    console.log("drawing")
    folder = warehouse / "reports"
    everything = [*tables, *running]
    charts = [chart for table in everything for chart in table.charts]
    _only(folder / "tables", {f"{table.slug}.csv": as_csv(table) for table in everything})
    _only(folder / "plots", {f"{chart.name}.png": picture(chart) for chart in charts})
    page = folder / "index.html"
    live_day = str(live.entry.day) if live else ""
    write_atomic(page, _page(config, days, live_day, tables, running))
    return page


def _reports_of_days(warehouse: Path, lane: str) -> list[Mapping[str, Any]]:
    """The reports of a lane's days, oldest first. Raises StoreError where there are none."""
    folder = home_of(warehouse, lane) / "reports"
    days = [read_json(path) for path in sorted(folder.glob("????-??-??.json"))]
    if not days:
        raise StoreError(
            f"{warehouse}: no day was run yet, so there is nothing to report."
            " `headwater run` or `backfill` comes first."
        )
    return days


def _page(
    config: FactoryConfig,
    days: Sequence[Mapping[str, Any]],
    live_day: str,
    tables: Sequence[Table],
    running: Sequence[Table],
) -> str:
    sections = sections_of([*tables, *running])
    return render(
        "report.html",
        sections,
        measured=sections[: len(tables)],
        running=sections[len(tables) :],
        cards=headlines(tables),
        config=config,
        days=days,
        live=live_day,
        rows=sum(sum(day["rows"].values()) for day in days),
        config_yaml=yaml.safe_dump(
            config.model_dump(mode="json", exclude_defaults=True),
            sort_keys=False,
            default_flow_style=None,
            width=110,
        ),
    )


def as_csv(table: Table) -> str:
    """All fields of a table's rows, shown or not.

    A nested field is named by its path, with dots.
    """
    rows = [flat(row) for row in table.rows]
    names = list(dict.fromkeys(key for row in rows for key in row))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def _only(folder: Path, wanted: Mapping[str, str | bytes]) -> None:
    """Have these files in a folder of ours, and no others."""
    for name, data in wanted.items():
        write_atomic(folder / name, data)
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.suffix in (".csv", ".png") and path.name not in wanted:
            path.unlink()
