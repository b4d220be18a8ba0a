"""Training sets for models that are not ours: every row of a log as it was known, with the vectors
that were served to it. No torch.

Shapes: N rows, D width of a vector.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from headwater.console import SILENT, Console
from headwater.digests import canonical_json
from headwater.embeddings import Space
from headwater.errors import ConfigError, StoreError
from headwater.events import ExampleReader, groups_of
from headwater.events.groups import kept_as
from headwater.events.raw import MOMENT, RawTable, feature_type, log_types, plain_type
from headwater.exports.choices import RowChoices, Wanted, choose
from headwater.exports.columns import (
    GROUP,
    OURS,
    context_columns,
    counter_columns,
    expect_distinct,
    nothing_served,
    vector_fields,
    vectors_array,
)
from headwater.exports.training_day import TrainingDay
from headwater.files import new_file
from headwater.lifecycle.timeline import Timeline
from headwater.schema import Feature, Schema
from headwater.store import Entry
from headwater.workspace import Workspace

BATCH_ROWS = 65_536
ONE_DAY = dt.timedelta(days=1)


@dataclass(frozen=True)
class _Source:
    """What a training set was loaded from, so that a worker process can load it again."""

    factory_yaml: Path
    start: dt.date
    end: dt.date
    lane: str
    choices: RowChoices


class TrainingSet:
    """The rows of a log's days `start` to `end`, a day at a time, each with what was known when it
    happened.

    Columns, in this order:

    - `time` and `day`, and `group_key`: the 64-bit key of the rows that compete with this one
      (`evaluation.group`; by default those of its user at its time), where the log has users
    - the entity ids and the context features, named as in the log
    - a label per task (null: not defined, or not matured by the last day done)
    - `user.NAME`, `item.NAME`: what the entity tables say; `user.history.NAME`: the counters
    - `edition`: the day of the edition that was read
    - for each embedding NAME its vector (full of nulls where none was served), `NAME_found`, and
      `NAME_age_days`, the days since it was made anew
    """

    def __init__(
        self,
        workspace: Workspace,
        start: dt.date,
        end: dt.date,
        wanted: Wanted,
    ) -> None:
        """Raises EditionMissing naming days that were not run; SpaceMismatch where the rows would
        read vectors of two spaces.
        """
        if end < start:
            raise ConfigError(f"training set: its first day, {start}, is after its last, {end}.")
        self.config = workspace.config
        self.wanted = wanted
        self.lane = workspace.lane
        self.days = tuple(start + n * ONE_DAY for n in range((end - start).days + 1))
        self._timeline = Timeline(workspace)
        self._timeline.expect(self.days)
        self.schema_of_data = workspace.schema
        self.log = self.schema_of_data.logs[wanted.log]
        lean = _lean(self.schema_of_data, wanted)
        erased = workspace.tombstones().matches
        self._reader = ExampleReader(lean, self.config.zone, None, erased)
        self._types = log_types(self.log)
        self.tables = self._tables() if wanted.features else {}
        self._source: _Source | None = None

    def _tables(self) -> dict[str, RawTable]:
        """The tables of the log's entities that have features, by entity."""
        owners = {entity: self.schema_of_data.entities[entity] for entity in self.log.entities}
        return {
            name: RawTable(entity, self.config.zone)
            for name, entity in owners.items()
            if entity.features
        }

    @classmethod
    def load(
        cls,
        factory_yaml: str | Path,
        start: dt.date,
        end: dt.date,
        *,
        lane: str | None = None,
        **choices: Unpack[RowChoices],
    ) -> TrainingSet:
        """The rows of days `start` to `end` of a factory, from a lane (default: the live one).

        `choices` are a `log` or a `consumer`, `embeddings` and `features`; see `choose`. Raises
        ConfigError for a log, a consumer, an embedding or a lane that is not there.
        """
        path = Path(factory_yaml)
        workspace = Workspace.load(path)
        workspace = workspace.of_lane(lane or workspace.live_lane())
        made = cls(workspace, start, end, choose(workspace.config, **choices))
        made._source = _Source(path, start, end, workspace.lane, choices)
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        """A worker process opens the set again; what it holds is not sent."""
        if self._source is None:
            raise TypeError(
                "only a TrainingSet that was loaded from a factory.yaml"
                " can be sent to another process"
            )
        source = self._source
        load = partial(TrainingSet.load, lane=source.lane, **source.choices)
        return load, (source.factory_yaml, source.start, source.end)

    # ---- what is in it ---------------------------------------------------------------------------

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks that are about the rows of the log."""
        return tuple(
            name for name, task in self.schema_of_data.tasks.items() if task.log == self.log.name
        )

    @property
    def has_groups(self) -> bool:
        """Whether its rows are of groups: by a column of the log, or by its user."""
        return self.log.group_column is not None or "user" in self.log.entities

    @cached_property
    def context(self) -> dict[str, str]:
        """The log's context features and the columns they are written to."""
        vectors = [
            field.name for name in self.wanted.embeddings for field in self._vector_fields(name)
        ]
        return context_columns(self.log, {*OURS, *self.tasks, *vectors})

    @cached_property
    def kinds(self) -> dict[str, Feature]:
        """The declared kind of every column that holds a feature."""
        found = {column: self.log.features[name] for name, column in self.context.items()}
        for entity in self.tables:
            found |= {
                f"{entity}.{name}": kind
                for name, kind in self.schema_of_data.entities[entity].features.items()
            }
        return found

    @cached_property
    def counters(self) -> tuple[str, ...]:
        """The columns of the counters."""
        if self.wanted.counters == "none":
            return ()
        return counter_columns(self.schema_of_data.histories_of(self.log.name))

    @cached_property
    def _entries(self) -> list[Entry]:
        """The edition that each day reads, of the days that read one."""
        entries = (self._timeline.entry_on(day) for day in self.days)
        return [entry for entry in entries if entry is not None]

    @cached_property
    def spaces(self) -> dict[str, Space]:
        """The one space of each embedding's column. Raises SpaceMismatch; StoreError where no
        edition has such vectors yet.
        """
        entries = list(dict.fromkeys(self._entries)) or self._timeline.chain.days[-1:]
        found = {name: self._timeline.space(name, entries) for name in self.wanted.embeddings}
        missing = [name for name, space in found.items() if space is None]
        if missing:
            raise StoreError(
                f"no edition that these days read holds {', '.join(missing)}."
                " Choose later days, or other embeddings."
            )
        return {name: space for name, space in found.items() if space is not None}

    @cached_property
    def depth(self) -> int:
        """How many vectors an entity has at most where the policy serves a sequence, newest first;
        0 where it serves one vector.

        Raises StoreError where that changed amid the days.
        """
        entries = self._entries or self._timeline.chain.days[-1:]
        policies = [self._timeline.open(entry).policy for entry in entries]
        depths = {policy.depth if policy.sequence else 0 for policy in policies}
        if len(depths) > 1:
            raise StoreError(
                "the policy changed between these days from one vector to a sequence, or back; one"
                " column cannot hold both. Take fewer days."
            )
        return depths.pop()

    @cached_property
    def schema(self) -> pa.Schema:
        """The Arrow schema; its metadata names the factory, the lane, and the space of each
        embedding.
        """
        log = self.log
        fields = [pa.field("time", MOMENT), pa.field("day", pa.date32())]
        fields += [pa.field(GROUP, pa.uint64())] if self.has_groups else []
        fields += [
            pa.field(column, plain_type(self._types[column]))
            for column in dict.fromkeys(log.entities.values())
        ]
        fields += [
            pa.field(column, feature_type(log.features[name], self._types[name]))
            for name, column in self.context.items()
        ]
        fields += [pa.field(task, pa.float32()) for task in self.tasks]
        fields += [
            pa.field(f"{entity}.{name}", kept_as)
            for entity, table in self.tables.items()
            for name, kept_as in table.types.items()
        ]
        fields += [pa.field(name, pa.float32()) for name in self.counters]
        fields.append(pa.field("edition", pa.date32()))
        fields += [field for name in self.wanted.embeddings for field in self._vector_fields(name)]
        expect_distinct(fields, log.name)
        about = {
            "factory": self.config.name,
            "lane": self.lane,
            "log": log.name,
            "lag_days": self.config.lifecycle.lag_days,
            "group": kept_as(log.group),
            "spaces": {name: str(space) for name, space in self.spaces.items()},
        }
        return pa.schema(fields, {"headwater": canonical_json(about)})

    def _vector_fields(self, name: str) -> list[pa.Field]:
        return vector_fields(name, self.spaces[name], self.depth)

    # ---- its rows --------------------------------------------------------------------------------

    def day(self, day: dt.date) -> TrainingDay:
        """One day, read and ready to be given out. Raises LogError."""
        events = self._reader.logs[self.log.name].day(day)
        last = self._timeline.days[-1]
        known_days = (last - day).days
        tasks = self.schema_of_data.tasks
        matured = tuple(task for task in self.tasks if tasks[task].matures_days <= known_days)
        examples = self._reader.build(events, matured, known_by=last)
        groups_N = groups_of(events).keys_N if self.has_groups else None
        return TrainingDay(self, events, replace(examples, histories={}), groups_N)

    def batches(self, batch_rows: int = BATCH_ROWS) -> Iterator[pa.RecordBatch]:
        """Day by day, oldest first; a batch holds rows of one day."""
        for day in self.days:
            rows = self.day(day)
            for low in range(0, len(rows), batch_rows):
                yield rows.take(np.arange(low, min(low + batch_rows, len(rows))))

    def reader(self, batch_rows: int = BATCH_ROWS) -> pa.RecordBatchReader:
        """All rows, for any tool that speaks Arrow."""
        return pa.RecordBatchReader.from_batches(self.schema, self.batches(batch_rows))

    def write(
        self, path: str | Path, batch_rows: int = BATCH_ROWS, console: Console = SILENT
    ) -> int:
        """Write a Parquet file, whole or not at all, a row group per batch; returns its rows.

        The same inputs give the same bytes.
        """
        # a dictionary of vectors would only cost
        plain = [field.name for field in self.schema if not pa.types.is_nested(field.type)]
        rows = 0
        today = None
        with (
            console.progress("training set", len(self.days)) as bar,
            new_file(Path(path)) as aside,
            pq.ParquetWriter(
                aside, self.schema, compression="zstd", use_dictionary=plain
            ) as writer,
        ):
            for batch in self.batches(batch_rows):
                writer.write_batch(batch, row_group_size=batch_rows)
                rows += len(batch)
                if (day := batch["day"][0].as_py()) != today:
                    today = day
                    bar.advance(f"{day}")
        return rows

    def vectors(self, name: str, keys_N: np.ndarray, day: dt.date) -> list[pa.Array]:
        """The three columns of an embedding for rows of `day`."""
        served = self._timeline.read(name, keys_N, day)
        if served is None:
            served = nothing_served(self.spaces[name], len(keys_N), self.depth > 0)
        return [
            vectors_array(served),
            pa.array(served.found_N),
            pa.array(served.age_days_N, mask=~served.found_N),
        ]

    def edition_on(self, day: dt.date) -> dt.date | None:
        """The day of the edition that rows of `day` read."""
        entry = self._timeline.entry_on(day)
        return None if entry is None else entry.day


def _lean(schema: Schema, wanted: Wanted) -> Schema:
    """The schema without what is not asked for, and without entity features: those are written as
    they stand, and not encoded.
    """
    entities = {
        name: replace(entity, features={}, exists_from=None)
        for name, entity in schema.entities.items()
    }
    histories = schema.histories if wanted.counters != "none" else {}
    return replace(schema, entities=entities, histories=histories)
