"""What a day reads, once: today's rows, and the earlier rows whose labels mature today."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from headwater.config import FactoryConfig
from headwater.digests import digest_of
from headwater.errors import EditionConflict
from headwater.events import ExampleCache, ExampleReader, Examples
from headwater.events.kept import EncodedRows
from headwater.events.ledger import Change
from headwater.events.log import EventDay
from headwater.events.tables import matching_files
from headwater.schema import Schema, Task
from headwater.store import Entry, Tombstones
from headwater.workspace import Workspace

PART_ROWS = 1 << 19  # encoded at a time


@dataclass(frozen=True)
class EncodedDay:
    """A day's rows of one log, opened, and where they are kept."""

    folder: Path
    examples: Examples

    def with_labels(self, tasks: Collection[str]) -> EncodedDay:
        """The same rows with these labels only."""
        labels = {task: self.examples.labels[task] for task in tasks}
        return EncodedDay(self.folder, replace(self.examples, labels=labels))

    @property
    def rows(self) -> EncodedRows:
        """Where they lie, for a job."""
        return EncodedRows(self.folder, tuple(self.examples.labels))


@dataclass(frozen=True)
class DayInputs:
    """Today's raw rows by log, and encoded rows by log and day: today's, and those of earlier days
    whose labels mature today. `done` are the days that were run before.
    """

    day: dt.date
    done: frozenset[dt.date]
    events: Mapping[str, EventDay]
    encoded: Mapping[tuple[str, dt.date], EncodedDay]

    def today(self, log: str) -> Examples:
        return self.encoded[log, self.day].examples

    def matured(self, task: Task) -> EncodedDay | None:
        """The rows whose label for `task` is known since today; None before the first day."""
        return self.encoded.get((task.log, self.day - dt.timedelta(days=task.matures_days)))

    def digest(self) -> str:
        return digest_of(
            {
                f"{log} {day}": found.examples.digest()
                for (log, day), found in sorted(self.encoded.items())
            }
        )

    def rows(self) -> dict[str, int]:
        """How many there are today, by log."""
        found = self.encoded.items()
        return {log: len(rows.examples) for (log, day), rows in found if day == self.day}


class DayReader:
    """Reads a workspace's days. Entity tables stay in memory until someone is erased; encoded days
    are kept on disk.
    """

    def __init__(self, workspace: Workspace, tell: Callable[[str], None] = lambda _: None) -> None:
        """`tell` is told what a person should know of the files."""
        self._workspace, self._tell = workspace, tell
        self.tombstones: Tombstones = workspace.tombstones()
        self._open()

    def refresh(self) -> None:
        """Look again who was erased: another process may have erased someone since."""
        now = self._workspace.tombstones()
        if now != self.tombstones:
            self.tombstones = now
            self._open()

    def _open(self) -> None:
        self.events: ExampleReader = self._workspace.events(quarantine=True)
        schema, config = self._workspace.schema, self._workspace.config
        made_from = (config.data_digest(), self.tombstones.digest)
        folder = self._workspace.origin.cache
        self.cache = ExampleCache(folder, made_from, lambda: list(_files(schema)))

    def read(self, day: dt.date, done: Collection[dt.date]) -> DayInputs:
        """Today's rows of every log that a model learns from or embeds, and the rows whose labels
        mature today, of the days `done`: those of a day that was skipped were never predicted, and
        are not learnt either. Raises LogError.
        """
        self._ingest(done)
        wanted = _wanted(self._workspace.config)
        tasks = [self._workspace.schema.tasks[name] for name in wanted]
        days: dict[tuple[str, dt.date], None] = {(task.log, day): None for task in tasks}
        for task in dict.fromkeys(tasks):
            matures = day - dt.timedelta(days=task.matures_days)
            if matures == day or matures in done:
                days[task.log, matures] = None
        events, encoded = dict[str, EventDay](), {}
        for log, of in days:
            rows = self.events.logs[log].day(of) if of == day else None
            encoded[log, of] = self.encoded(log, of, day, rows)
            if rows is not None:
                events[log] = rows
        return DayInputs(day, frozenset(done), events, encoded)

    def _ingest(self, done: Collection[dt.date]) -> None:
        """Look for files that are new or changed, and tell of those that touch days already run."""
        for name, log in self.events.logs.items():
            log.lake.ingest()
            for change in log.lake.take_news():
                late = sorted({*change.rows} & {*done})
                if late:
                    self._tell(late_files(name, change, late))

    def encoded(
        self, log: str, of: dt.date, known_by: dt.date, rows: EventDay | None = None
    ) -> EncodedDay:
        """The rows of a day with the labels that are known at the end of `known_by`, encoded at
        most once; `rows` are its raw rows, if they were read already.
        """
        age = (known_by - of).days
        tasks = self._workspace.schema.tasks.values()
        known = tuple(task.name for task in tasks if task.log == log and task.matures_days <= age)
        place = self.cache.place(log, of, known, matured=of < known_by)
        if not self.cache.has(place):
            rows = self.events.logs[log].day(of) if rows is None else rows
            parts = self.events.parts(rows, known, known_by, PART_ROWS)
            self.cache.keep(place, parts, len(rows))
        return EncodedDay(place, EncodedRows(place, known).open())


def _wanted(config: FactoryConfig) -> list[str]:
    """The tasks that are learnt, upstream and downstream."""
    wanted = [task for spec in config.upstreams.values() for task in spec.tasks]
    return list(dict.fromkeys([*wanted, *(spec.task for spec in config.downstream.values())]))


def _files(schema: Schema) -> Iterator[str]:
    """Every file that examples are read from, as they lie there now."""
    groups = [log.paths for log in schema.logs.values()]
    groups += [entity.paths for entity in schema.entities.values() if entity.paths]
    groups += [(history.seed.table,) for history in schema.histories.values() if history.seed]
    for paths in groups:
        yield from matching_files(paths, "data")


def late_files(log: str, change: Change, days: Sequence[dt.date]) -> str:
    """What is said of a file that came, changed or vanished after days that it touches were run."""
    return (
        f"log {log}: {change}. {len(days)} of these days were run before, {days[0]} the first:"
        f" `headwater run --day {days[0]} --replace` runs it and every later day again."
    )


def fingerprint_of(config: FactoryConfig, inputs: DayInputs, before: Entry | None) -> str:
    """Of all that shapes the day: the config, what is read, and the day before, because averages
    remember.
    """
    previous = before and before.fingerprint + before.aligned
    return digest_of(config.digest(), inputs.day, inputs.digest(), previous)


def conflict(day: dt.date, known: str, now: str) -> EditionConflict:
    """What is raised where a day that was published would be made from other inputs now."""
    return EditionConflict(
        f"edition {day} is published, and was made from other inputs than it would be now"
        f" (fingerprint {known[:12]}, now {now[:12]}): the log, an entity table, the config or an"
        " earlier edition has changed. Put the inputs back, or run `headwater run --day"
        f" {day} --replace`, which replays every later day too."
    )
