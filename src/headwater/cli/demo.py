"""The demo: a world, a factory, its days, the tables, the report."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headwater.cli.factories import init_factory
from headwater.cli.worlds import WorldOptions
from headwater.console import Console
from headwater.evaluation.table import Table
from headwater.evidence import report_tables
from headwater.files import read_json
from headwater.report.report import write_report
from headwater.worlds.adsworld import best_reachable

SHOWN = ("T2", "T3")


@dataclass(frozen=True)
class Demonstration:
    """What the demo found: the rankers' lift tables, the best ROC-AUC by task that any model could
    reach in this world, and the paths written.
    """

    tables: tuple[Table, ...]
    best_reachable_auc: Mapping[str, float]
    report: str
    factory: str

    def as_json(self) -> dict[str, Any]:
        return {
            "tables": [table.as_json() for table in self.tables],
            "best_reachable_auc": dict(self.best_reachable_auc),
            "report": self.report,
            "factory": self.factory,
        }


def run_demo(out: Path, options: WorldOptions, console: Console) -> Demonstration:
    """Run the demo in the folder `out`, or go on with it where it stopped."""
    from headwater.factory import Factory

    data = out / "world"
    path = init_factory("adsworld", data, out, options, console)
    world = read_json(data / "world.json")["assumptions"]
    first = dt.date.fromisoformat(world["first_day"])
    last = first + dt.timedelta(days=world["days"] - 1)
    factory = Factory.load(path, console)
    try:
        for _ in factory.backfill(first, last):
            pass
    finally:
        factory.close()
    console.log("pooling the judged days, with intervals")
    tables = report_tables(factory.workspace, console)
    span = factory.config.evaluation
    ceiling = best_reachable(data, span.start or first, span.end or last)
    report = write_report(path, tables, console=console)
    shown = tuple(table for table in tables if table.name in SHOWN)
    return Demonstration(shown, ceiling, str(report), str(path))
