"""What a person sees while work runs: log lines and progress, on stderr only (stdout belongs to
answers).
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console as RichConsole
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


@dataclass
class Console:
    """Log lines as text or JSON lines, and one progress bar at a time where stderr is a
    terminal.
    """

    json_lines: bool = False
    quiet: bool = False
    _rich: RichConsole = field(
        default_factory=lambda: RichConsole(stderr=True, highlight=False, soft_wrap=True)
    )

    def log(self, event: str, **fields: Any) -> None:
        """One line: what happened, and its figures."""
        if self.quiet:
            return
        if self.json_lines:
            print(json.dumps({"event": event, **fields}, default=str), file=sys.stderr, flush=True)
        else:
            figures = "  ".join(f"[dim]{name}[/dim] {value}" for name, value in fields.items())
            self._rich.print(f"{event}  {figures}" if figures else event)

    @contextmanager
    def progress(self, title: str, total: int) -> Iterator[_Step]:
        """A bar over `total` steps; elsewhere than on a terminal, the log lines of the steps stand
        alone.
        """
        if self.quiet or self.json_lines or not self._rich.is_terminal:
            yield _Step(None, None)
            return
        columns = (
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self._rich, transient=True) as bar:
            yield _Step(bar, bar.add_task(title, total=total))


class _Step:
    def __init__(self, bar: Progress | None, task: Any) -> None:
        self._bar, self._task = bar, task

    def advance(self, title: str | None = None, by: int = 1) -> None:
        if self._bar is not None:
            self._bar.update(self._task, advance=by, description=title)

    def title(self, title: str) -> None:
        if self._bar is not None:
            self._bar.update(self._task, description=title)


SILENT = Console(quiet=True)


@contextmanager
def timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    """Add the wall time of the block to `seconds[name]` (for people; never part of a digest)."""
    start = time.perf_counter()
    try:
        yield
    finally:
        seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - start
