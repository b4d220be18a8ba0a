"""The report: one HTML file that opens anywhere, offline, with the answer first.

Beside it lie a CSV of each table and a PNG of each plot.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from headwater.config import FactoryConfig
from headwater.console import SILENT, Console
from headwater.errors import StoreError
from headwater.evaluation.table import Table
from headwater.evidence import report_tables
from headwater.files import write_atomic
from headwater.report.headline import headlines
from headwater.report.operations import operations
from headwater.report.page import flat, render, sections_of
from headwater.report.pictures import picture
from headwater.serving.reader import Reader
from headwater.store.reports import DayReport, read_copy
from headwater.workspace import Workspace


def write_report(
    factory: Path, tables: Sequence[Table] | None = None, console: Console = SILENT
) -> Path:
    """Write `reports/index.html` in the factory's warehouse, with `tables/` and `plots/` beside it.

    Returns the page's path. The same warehouse gives the same bytes. `tables` saves making them
    again. Raises StoreError before the first day.
    """
    workspace = Workspace.load(factory)
    live = workspace.catalog().live
    days = _reports_of_days(workspace.of_live_lane())
    if tables is None:
        console.log("making the tables, with intervals")
        tables = report_tables(workspace, console)
    running = operations(days, Reader(workspace), workspace.schema)
    console.log("drawing")
    layout = workspace.layout
    everything = [*tables, *running]
    charts = [chart for table in everything for chart in table.charts]
    _only(layout.page_tables, {f"{table.slug}.csv": as_csv(table) for table in everything})
    _only(layout.page_plots, {f"{chart.name}.png": picture(chart) for chart in charts})
    live_day = str(live.entry.day) if live else ""
    write_atomic(layout.page, _page(workspace.config, days, live_day, tables, running))
    return layout.page


def _reports_of_days(workspace: Workspace) -> list[DayReport]:
    """The reports of a lane's days, oldest first. Raises StoreError where there are none."""
    found = [read_copy(workspace.layout, day) for day in workspace.days_done()]
    days = [report for report in found if report is not None]
    if not days:
        raise StoreError(
            f"{workspace.layout.root}: no day was run yet, so there is nothing to report."
            " `headwater run` or `backfill` comes first."
        )
    return days


def _page(
    config: FactoryConfig,
    days: Sequence[DayReport],
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
        cards=headlines(tables, 1 - config.evaluation.confidence),
        config=config,
        days=days,
        live=live_day,
        rows=sum(sum(day.rows.values()) for day in days),
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
