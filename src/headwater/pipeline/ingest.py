"""Reading what is new in the logs, before or apart from a day."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

from headwater.console import Console
from headwater.events.lake import Lake
from headwater.events.ledger import Change
from headwater.workspace import Workspace


@dataclass(frozen=True)
class Ingested:
    """A log as it is known now: `read` of its `files` were new or changed, `cut` of them are read
    from parts, a day each; `undated` of its `rows` have no readable time.
    """

    files: int
    read: int
    cut: int
    rows: int
    undated: int
    first_day: dt.date | None
    last_day: dt.date | None
    changes: tuple[Change, ...]

    @classmethod
    def of(cls, lake: Lake, read: int, changes: list[Change]) -> Ingested:
        ledger = lake.ledger
        days = ledger.days
        cut = sum(facts.cut for facts in ledger.files.values())
        return cls(
            len(ledger.files),
            read,
            cut,
            ledger.total,
            ledger.undated,
            days[0] if days else None,
            days[-1] if days else None,
            tuple(changes),
        )

    def as_json(self) -> dict[str, Any]:
        return {
            "files": self.files,
            "read": self.read,
            "cut": self.cut,
            "rows": self.rows,
            "undated": self.undated,
            "first_day": None if self.first_day is None else str(self.first_day),
            "last_day": None if self.last_day is None else str(self.last_day),
            "changes": [change.as_json() for change in self.changes],
        }


def ingest(workspace: Workspace, console: Console) -> dict[str, Ingested]:
    """Read every file of every log that is new or changed, once; by log. Raises LogError."""
    found = {}
    for name, log in workspace.events(quarantine=True).logs.items():
        read: list[str] = []
        with console.progress(f"ingest {name}", log.lake.unread()) as bar:

            def done(path: str, read: list[str] = read) -> None:
                read.append(path)
                bar.advance()

            changes = log.lake.ingest(done)
        found[name] = Ingested.of(log.lake, len(read), changes)
    return found
