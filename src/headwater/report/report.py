"""The report: one HTML file that opens anywhere, offline, first the answer; a CSV of each table and
a PNG of each plot beside it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from headwater.config import load_config, warehouse_of
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
    """Write `reports/index.html` in the factory's warehouse, with `tables/` and `plots/` beside it;
    returns its path.

    `tables` saves making them again. The same warehouse gives the same bytes. Raises StoreError
    before the first day.
    """
    config, root = load_config(factory), factory.resolve().parent
    warehouse = warehouse_of(config, root)
    live = read_catalog(warehouse).live
    home = home_of(warehouse, live.lane if live else MAIN)
    days = [read_json(path) for path in sorted((home / "reports").glob("????-??-??.json"))]
    if not days:
        raise StoreError(
            f"{warehouse}: no day was run yet, so there is nothing to report. `headwater run` or"
            " `backfill` comes first."
        )
    if tables is None:
        console.log("making the tables, with bootstrap intervals")
        tables = report_tables(config, root, console)
    running = operations(days, Reader(config, root), Schema.from_config(config, root))
    everything = [*tables, *running]
    console.log("drawing")
    folder = warehouse / "reports"
    _only(folder / "tables", {f"{table.slug}.csv": as_csv(table) for table in everything})
    _only(
        folder / "plots",
        {f"{chart.name}.png": picture(chart) for table in everything for chart in table.charts},
    )
    sections = sections_of(everything)
    page = render(
        "report.html",
        sections,
        measured=sections[: len(tables)],
        running=sections[len(tables) :],
        cards=headlines(tables),
        config=config,
        days=days,
        live=str(live.entry.day) if live else "",
        rows=sum(sum(day["rows"].values()) for day in days),
        config_yaml=yaml.safe_dump(
            config.model_dump(mode="json", exclude_defaults=True),
            sort_keys=False,
            default_flow_style=None,
            width=110,
        ),
    )
    write_atomic(folder / "index.html", page)
    return folder / "index.html"


def as_csv(table: Table) -> str:
    """All fields of a table's rows, shown or not; what is nested has its path for a name, with
    dots.
    """
    rows = [flat(row) for row in table.rows]
    buffer = io.StringIO()
    writer = csv.DictWriter(
        buffer, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n"
    )
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
