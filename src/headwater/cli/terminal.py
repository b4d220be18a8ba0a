"""How a command answers: one JSON object on stdout, or text and tables for a person."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table as RichTable

if TYPE_CHECKING:
    from headwater.evaluation.table import Table

# A log file or a pipe has no width of its own: there, wide tables stay whole.
PIPE_WIDTH = 240
HAS_WIDTH = sys.stdout.isatty() or "COLUMNS" in os.environ

out = Console(highlight=False, width=None if HAS_WIDTH else PIPE_WIDTH)


def answer(value: Any, as_json: bool, show: Callable[[Any], None]) -> None:
    """Print a value as a JSON object, or let `show` print it for a person."""
    if as_json:
        print(json.dumps(value, default=str))
    else:
        show(value)


def plain_table(*columns: str, title: str) -> RichTable:
    """Print a title and begin a table without rules, readable in a log file too."""
    out.print(title, style="bold")
    table = RichTable(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for column in columns:
        table.add_column(column, no_wrap=True)
    return table


def show_table(made: Table) -> None:
    """Print an offline table: its columns that hold something, its answer and its notes."""
    used = [column for column in made.columns if any(column.show(row) for row in made.rows)]
    table = plain_table(
        *[column.title for column in used[:1]],
        title=f"{made.name}  {made.title}, {made.first_day} to {made.last_day}",
    )
    for column in used[1:]:
        table.add_column(column.title, justify="right" if column.spec else "left", overflow="fold")
    for row in made.rows:
        table.add_row(*(column.show(row) for column in used))
    out.print(table)
    for line in (made.answer, *made.notes):
        out.print(line, markup=False)
