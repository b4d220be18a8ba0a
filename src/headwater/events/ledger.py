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

from headwater.errors import LogError, StoreError
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

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Change:
        rows = {dt.date.fromisoformat(day): n for day, n in raw["rows"].items()}
        return cls(raw["path"], raw["what"], rows)

    def __str__(self) -> str:
        if not self.rows:
            return f"{self.path} ({self.what}): no day's rows are others"
        days = ", ".join(f"{day} {n:+,}" for day, n in sorted(self.rows.items())[:7])
        more = len(self.rows) - 7
        return f"{self.path} ({self.what}): rows of {days}" + (f" and {more} more" * (more > 0))


@dataclass(frozen=True)
class Ledger:
    """The files of a log, by path; `signature` is of how they are read.

    `whole`: all files were read once, so that what is not known is new. `news` is what has changed
    since then and was told to nobody yet.
    """

    signature: str
    files: Mapping[str, FileFacts] = field(default_factory=dict)
    whole: bool = False
    news: tuple[Change, ...] = ()

    @classmethod
    def read(cls, path: Path, signature: str) -> Ledger:
        """What is kept; empty where nothing is, where it was read in another way, or where it is
        damaged, for all of it can be read again.
        """
        try:
            raw = read_json(path) if path.is_file() else {}
            if (raw.get("format"), raw.get("signature")) != (FORMAT, signature):
                return cls(signature)
            files = {name: FileFacts.from_json(facts) for name, facts in raw["files"].items()}
            news = tuple(Change.from_json(change) for change in raw["news"])
            return cls(signature, files, raw["whole"], news)
        except (StoreError, AttributeError, KeyError, TypeError, ValueError):
            return cls(signature)

    def write(self, path: Path) -> None:
        raw = {
            "format": FORMAT,
            "signature": self.signature,
            "files": {name: facts.as_json() for name, facts in self.files.items()},
            "whole": self.whole,
            "news": [change.as_json() for change in self.news],
        }
        write_json(path, raw)

    def followed_by(self, files: Mapping[str, FileFacts], whole: bool) -> Ledger:
        """The ledger with these files in place of its own, and what that changes as news."""
        news = self.changes_to(files) if self.whole else []
        return replace(self, files=dict(files), whole=whole, news=(*self.news, *news))

    def changes_to(self, files: Mapping[str, FileFacts]) -> list[Change]:
        """What some files tell that these did not, in the order of their paths.

        A file of the same bytes under another name, or with other times, is none.
        """
        gone = {facts.digest for path, facts in self.files.items() if path not in files}
        come = {facts.digest for path, facts in files.items() if path not in self.files}
        renamed = gone & come
        found = []
        for path in sorted({*files, *self.files}):
            now, then = files.get(path), self.files.get(path)
            only = now or then
            assert only is not None
            if now is not None and then is not None:
                if now.digest != then.digest:
                    found.append(Change(path, "changed", _differences(now, then)))
            elif only.digest not in renamed:
                what = "vanished" if now is None else "new"
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
