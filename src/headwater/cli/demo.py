"""The demo: a world, a factory, its days, the tables, the report."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

from headwater.cli.setup import init_factory
from headwater.console import Console
from headwater.files import read_json
from headwater.report.report import write_report
from headwater.studies import report_tables
from headwater.worlds.adsworld import best_reachable


def run_demo(
    out: Path, days: int | None, size: str, seed: int, console: Console, mood: float = 0.0
) -> dict[str, Any]:
    """Run or resume the demo in `out`; returns the tables, the ceiling of the world, and the paths
    written.
    """
    from headwater.pipeline.day import Factory

    data = out / "world"
    path = init_factory(
        "adsworld", data, out, size=size, seed=seed, days=days, mood=mood, console=console
    )
    world = read_json(data / "world.json")["assumptions"]
    first = dt.date.fromisoformat(world["first_day"])
    factory = Factory.load(path, console)
    try:
        for _ in factory.backfill(first, first + dt.timedelta(days=world["days"] - 1)):
            pass
    finally:
        factory.close()
    console.log("pooling the judged days, with bootstrap intervals")
    tables = report_tables(factory.config, factory.root, console)
    span = factory.config.evaluation
    ceiling = best_reachable(
        data, span.start or first, span.end or first + dt.timedelta(days=world["days"] - 1)
    )
    return {
        "tables": [table.as_json() for table in tables if table.name in ("T2", "T3")],
        "best_reachable_auc": ceiling,
        "report": str(write_report(path, tables, console=console)),
        "factory": str(path),
    }
