"""The command that reads what is new in the logs: ingest."""

from __future__ import annotations

from typing import Any

from headwater.cli.options import FACTORY_YAML, AsJson, FactoryPath, LogKind, console_of
from headwater.cli.terminal import answer, out, plain_table


def ingest(
    factory: FactoryPath = FACTORY_YAML, as_json: AsJson = False, log: LogKind = "text"
) -> None:
    """Read every file of the logs that is new or changed, once. A day does so by itself; this is
    for before, or to see what it would find.
    """
    from headwater.cli.warehouses import open_warehouse
    from headwater.pipeline.ingest import ingest as read_files

    with open_warehouse(factory, settled=False) as workspace:
        found = read_files(workspace, console_of(log))

    def show(_: Any) -> None:
        table = plain_table(
            "log", "files", "read now", "cut by day", "rows", "undated", "days", title="The lake"
        )
        for name, made in found.items():
            days = f"{made.first_day} to {made.last_day}" if made.first_day else "none"
            numbers = (made.files, made.read, made.cut, made.rows, made.undated)
            table.add_row(name, *(f"{number:,}" for number in numbers), days)
        out.print(table)
        for name, made in found.items():
            for change in made.changes:
                out.print(f"log {name}: {change}", markup=False)

    answer({"logs": {name: made.as_json() for name, made in found.items()}}, as_json, show)
