"""What is known of a log's files, so that each is read once and a day opens only its own.

lake/LOG/ledger.json              of each file: identity, rows by local day, types
lake/LOG/parts/DIGEST/DAY.parquet rows of a file that was cut by day, oldest first
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from headwater.errors import LogError
from headwater.files import read_json, write_json

FORMAT = 1


@dataclass(frozen=True)
class Identity:
    """By which a file is known without being read: bytes, time of change (ns), inode."""

    size: int
    mtime_ns: int
    inode: int

    @classmethod
    def of(cls, path: str) -> Identity:
        """Raises OSError."""
        stat = os.stat(path)
        return cls(stat.st_size, stat.st_mtime_ns, stat.st_ino)


@dataclass(frozen=True)
class FileFacts:
    """A source file as it was read.

    `digest` is of its bytes, `rows` counts them by local day, `undated` those whose time cannot be
    read; `types` are its columns' as text. `cut`: its rows are read from parts, one a day, and not
    from the file.
    """

    identity: Identity
    digest: str
    rows: Mapping[dt.date, int]
    undated: int
    types: Mapping[str, str]
    cut: bool

    @property
    def total(self) -> int:
        return sum(self.rows.values()) + self.undated

    def touches(self, first: dt.date, last: dt.date) -> bool:
        """Whether it holds a row of the days from `first` to `last`."""
        return any(first <= day <= last for day in self.rows)

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"rows": {str(day): n for day, n in self.rows.items()}}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> FileFacts:
        rows = {dt.date.fromisoformat(day): n for day, n in raw["rows"].items()}
        return cls(**dict(raw) | {"identity": Identity(**raw["identity"]), "rows": rows})


@dataclass(frozen=True)
class Change:
    """What became of one file since the ledger was written: `new`, `changed`, `vanished`.

    `rows` is, for each day that it touches, how many rows there are more or less.
    """

    path: str
    what: str
    rows: Mapping[dt.date, int]

    def as_json(self) -> dict[str, Any]:
        rows = {str(day): n for day, n in self.rows.items()}
        return {"path": self.path, "what": self.what, "rows": rows}

    def __str__(self) -> str:
        if not self.rows:
            return f"{self.path} ({self.what}): no day's rows are others"
        days = ", ".join(f"{day} {n:+,}" for day, n in sorted(self.rows.items())[:7])
        more = len(self.rows) - 7
        return f"{self.path} ({self.what}): rows of {days}" + (f" and {more} more" * (more > 0))


@dataclass(frozen=True)
class Ledger:
    """The files of a log, by path; `signature` is of how they are read."""

    signature: str
    files: Mapping[str, FileFacts] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path, signature: str) -> Ledger:
        """What is kept; empty where nothing is, or where it was read in another way."""
        if not path.is_file():
            return cls(signature)
        raw = read_json(path)
        if (raw["format"], raw["signature"]) != (FORMAT, signature):
            return cls(signature)
        files = {name: FileFacts.from_json(facts) for name, facts in raw["files"].items()}
        return cls(signature, files)

    def write(self, path: Path) -> None:
        files = {name: facts.as_json() for name, facts in self.files.items()}
        write_json(path, {"format": FORMAT, "signature": self.signature, "files": files})

    def with_files(self, files: Mapping[str, FileFacts]) -> Ledger:
        return replace(self, files=dict(files))

    def changes_since(self, before: Ledger) -> list[Change]:
        """What the files tell that `before` did not, in the order of their paths."""
        found = []
        for path in sorted({*self.files, *before.files}):
            now, then = self.files.get(path), before.files.get(path)
            if now is None or then is None:
                what = "vanished" if now is None else "new"
            elif now.digest == then.digest:
                continue
            else:
                what = "changed"
            found.append(Change(path, what, _differences(now, then)))
        return found

    @property
    def days(self) -> list[dt.date]:
        """The local days that have rows, in order."""
        return sorted({day for facts in self.files.values() for day in facts.rows})

    @property
    def undated(self) -> int:
        return sum(facts.undated for facts in self.files.values())

    @property
    def total(self) -> int:
        return sum(facts.total for facts in self.files.values())


def _differences(now: FileFacts | None, then: FileFacts | None) -> dict[dt.date, int]:
    """Rows more or less, by day; a day whose number is the same stands with 0."""
    new, old = (facts.rows if facts is not None else {} for facts in (now, then))
    return {day: new.get(day, 0) - old.get(day, 0) for day in sorted({*new, *old})}


def expect_at_rest(path: str, before: Identity, what: str) -> None:
    """Raise LogError where a file was written to while it was read."""
    try:
        after = Identity.of(path)
    except OSError:
        after = None
    if after != before:
        raise LogError(
            f"{what}: {path} was changed while it was read ({before.size:,} bytes before,"
            f" {after.size if after else 0:,} after). Nothing of it was kept. Write files under"
            " another name and rename them into place; then run again."
        )


def days_between(first: dt.date, last: dt.date) -> Iterable[dt.date]:
    """From `first` to `last`, both included."""
    return (first + dt.timedelta(days=n) for n in range((last - first).days + 1))
