"""Training sets for models that are not ours: every row of a log as it was known, with the vectors
that were served to it. No torch.

Shapes: N rows, D width of a vector, K length of a sequence.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from headwater.config import FactoryConfig
from headwater.console import SILENT, Console
from headwater.digests import canonical_json
from headwater.embeddings import Served, Space
from headwater.embeddings.snapshot import day_number
from headwater.errors import ConfigError, SchemaError, StoreError
from headwater.events import ExampleReader, Examples
from headwater.events.cleaning import TIME
from headwater.events.log import EventDay
from headwater.events.raw import (
    MOMENT,
    RawTable,
    feature_array,
    feature_type,
    log_types,
    plain_array,
    plain_type,
    vector_array,
)
from headwater.files import new_file
from headwater.lifecycle.timeline import Timeline
from headwater.schema import Feature, Schema, Timestamp
from headwater.workspace import Workspace

BATCH_ROWS = 65_536
ONE_DAY = dt.timedelta(days=1)
OURS = ("time", "day", "edition")


@dataclass(frozen=True)
class Wanted:
    """What a training set holds beside times, ids, context and labels. `counters`: none, log or
    full, as in downstream.NAME.counters.
    """

    log: str
    embeddings: tuple[str, ...]
    features: bool
    counters: str


class TrainingSet:
    """The rows of a log's days `start` to `end`, a day at a time, each with what was known when it
    happened.

    Columns: `time`; `day`; the entity ids and the context features, named as in the log; a label
    per task (null: not defined, or not matured by the last day done); `user.NAME`, `item.NAME`, as
    the entity tables have them; `user.history.NAME`; `edition`, the day of the edition that was
    read; and for each embedding NAME its vector (full of nulls where none was served), `NAME_found`
    and `NAME_age_days`, the days since it was made anew.
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
        self.config, self.wanted, self.lane = workspace.config, wanted, workspace.lane
        self.days = tuple(start + n * ONE_DAY for n in range((end - start).days + 1))
        self._timeline = Timeline(workspace)
        self._timeline.expect(self.days)
        self.schema_of_data = workspace.schema
        self.log = self.schema_of_data.logs[wanted.log]
        self._reader = ExampleReader(
            _lean(self.schema_of_data, wanted),
            self.config.zone,
            None,
            workspace.tombstones().matches,
        )
        self._types = log_types(self.log)
        owners = (
            [
                entity
                for entity in self.log.entities
                if self.schema_of_data.entities[entity].features
            ]
            if wanted.features
            else []
        )
        self.tables = {
            entity: RawTable(self.schema_of_data.entities[entity], self.config.zone)
            for entity in owners
        }
        self._source: tuple[Any, ...] | None = None

    @classmethod
    def load(
        cls,
        factory_yaml: str | Path,
        start: dt.date,
        end: dt.date,
        *,
        log: str | None = None,
        consumer: str | None = None,
        embeddings: Sequence[str] | None = None,
        features: bool = True,
        lane: str | None = None,
    ) -> TrainingSet:
        """From a `factory.yaml`: the rows of a log, or of a consumer's (with the counters it
        reads); by default of the only log with tasks.

        By default with all `embeddings` that the log's entities have, entity features and counters,
        from the lane that is live. Raises ConfigError for a log, a consumer, an embedding or a lane
        that is not there.
        """
        path = Path(factory_yaml)
        workspace = Workspace.load(path)
        workspace = workspace.of_lane(lane or workspace.live_lane())
        wanted = choose(workspace.config, log, consumer, embeddings, features)
        made = cls(workspace, start, end, wanted)
        made._source = (path, start, end, log, consumer, embeddings, features, workspace.lane)
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        """A worker process opens the set again; what it holds is not sent."""
        if self._source is None:
            raise TypeError(
                "only a TrainingSet that was loaded from a factory.yaml can be sent to another"
                " process"
            )
        path, start, end, log, consumer, embeddings, features, lane = self._source
        return partial(
            TrainingSet.load,
            log=log,
            consumer=consumer,
            embeddings=embeddings,
            features=features,
            lane=lane,
        ), (path, start, end)

    # ---- what is in it ---------------------------------------------------------------------------

    @property
    def tasks(self) -> tuple[str, ...]:
        return tuple(
            name for name, task in self.schema_of_data.tasks.items() if task.log == self.log.name
        )

    @cached_property
    def context(self) -> dict[str, str]:
        """The log's features and the columns they are written to. The row's own time is not written
        twice; where one of ours has the name of a feature, that is written to LOG.NAME.
        """
        kept = [
            name
            for name, kind in self.log.features.items()
            if name not in self.log.entities.values() and not self._is_time(name, kind)
        ]
        taken = {
            *OURS,
            *self.tasks,
            *(field.name for name in self.wanted.embeddings for field in self._vector_fields(name)),
        }
        return {name: f"{self.log.name}.{name}" if name in taken else name for name in kept}

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
        """The counters' columns: log(1 + events), the smoothed share of each action, log(1 + hours
        since the newest event).
        """
        if self.wanted.counters == "none":
            return ()
        histories = self.schema_of_data.histories_of(self.log.name)
        parts = {
            entity: (
                "log1p_events",
                *(f"share_{action}" for action in history.actions),
                "log1p_hours_since",
            )
            for entity, history in histories.items()
        }
        return tuple(
            f"{entity}.history.{part}" for entity, names in parts.items() for part in names
        )

    @cached_property
    def spaces(self) -> dict[str, Space]:
        """The one space of each embedding's column. Raises SpaceMismatch; StoreError where no
        edition has such vectors yet.
        """
        read = list(
            dict.fromkeys(
                entry for day in self.days if (entry := self._timeline.entry_on(day)) is not None
            )
        )
        found = {
            name: self._timeline.space(name, read or self._timeline.chain.days[-1:])
            for name in self.wanted.embeddings
        }
        missing = [name for name, space in found.items() if space is None]
        if missing:
            raise StoreError(
                f"no edition that these days read holds {', '.join(missing)}. Choose later days, or"
                " other embeddings."
            )
        return {name: space for name, space in found.items() if space is not None}

    @cached_property
    def depth(self) -> int:
        """How many vectors an entity has at most where the policy serves a sequence, newest first;
        0 where it serves one vector.

        Raises StoreError where that changed amid the days.
        """
        entries = [
            entry for day in self.days if (entry := self._timeline.entry_on(day)) is not None
        ]
        policies = [
            self._timeline.open(entry).policy for entry in entries or self._timeline.chain.days[-1:]
        ]
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
        fields = [pa.field("time", MOMENT), pa.field("day", pa.date32())]
        fields += [
            pa.field(column, plain_type(self._types[column]))
            for column in dict.fromkeys(self.log.entities.values())
        ]
        fields += [
            pa.field(column, feature_type(self.log.features[name], self._types[name]))
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
        names = [field.name for field in fields]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise SchemaError(
                f"log {self.log.name}: two columns of the training set would be named"
                f" {', '.join(twice)}. Rename the log's, or the task."
            )
        about = {
            "factory": self.config.name,
            "lane": self.lane,
            "log": self.log.name,
            "lag_days": self.config.lifecycle.lag_days,
            "spaces": {name: str(space) for name, space in self.spaces.items()},
        }
        return pa.schema(fields, {"headwater": canonical_json(about)})

    def _vector_fields(self, name: str) -> list[pa.Field]:
        vector = pa.list_(pa.float32(), self.spaces[name].width)
        kept_as = pa.list_(vector) if self.depth else vector
        return [
            pa.field(name, kept_as),
            pa.field(f"{name}_found", pa.bool_()),
            pa.field(f"{name}_age_days", pa.float32()),
        ]

    def _is_time(self, name: str, kind: Feature) -> bool:
        return name == self.log.time and isinstance(kind, Timestamp)

    # ---- its rows --------------------------------------------------------------------------------

    def day(self, day: dt.date) -> TrainingDay:
        """One day, read and ready to be given out. Raises LogError."""
        events = self._reader.logs[self.log.name].day(day)
        last = self._timeline.days[-1]
        known = tuple(
            task
            for task in self.tasks
            if self.schema_of_data.tasks[task].matures_days <= (last - day).days
        )
        return TrainingDay(
            self, events, replace(self._reader.build(events, known, known_by=last), histories={})
        )

    def batches(self, batch_rows: int = BATCH_ROWS) -> Iterator[pa.RecordBatch]:
        """Day by day, oldest first; a batch holds rows of one day."""
        for day in self.days:
            rows = self.day(day)
            for low in range(0, len(rows), batch_rows):
                yield rows.take(np.arange(low, min(low + batch_rows, len(rows))))

    def reader(self, batch_rows: int = BATCH_ROWS) -> pa.RecordBatchReader:
        """For any tool that speaks Arrow."""
        return pa.RecordBatchReader.from_batches(self.schema, self.batches(batch_rows))

    def write(
        self, path: str | Path, batch_rows: int = BATCH_ROWS, console: Console = SILENT
    ) -> int:
        """Write a Parquet file, whole or not at all, a row group per batch; returns its rows. The
        same inputs give the same bytes.
        """
        plain = [
            field.name for field in self.schema if not pa.types.is_nested(field.type)
        ]  # a dictionary of vectors would only cost
        rows, today = 0, None
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
        served = self._timeline.read(name, keys_N, day) or self._nothing(name, len(keys_N))
        return [
            _vectors(served),
            pa.array(served.found_N),
            pa.array(served.age_days_N, mask=~served.found_N),
        ]

    def _nothing(self, name: str, n: int) -> Served:
        space = self.spaces[name]
        vectors_ND, sequence_NKD = (
            np.zeros((n, space.width), np.float32),
            np.zeros((n, 0, space.width), np.float32),
        )
        nothing = Served(space, vectors_ND, np.zeros(n, bool), np.zeros(n, np.float32))
        return (
            replace(nothing, sequence_NKD=sequence_NKD, steps_N=np.zeros(n, np.int64))
            if self.depth
            else nothing
        )

    def edition_on(self, day: dt.date) -> dt.date | None:
        """The day of the edition that rows of `day` read."""
        entry = self._timeline.entry_on(day)
        return None if entry is None else entry.day


@dataclass(frozen=True)
class TrainingDay:
    """The rows of one day, oldest first; a batch of them is made when it is asked for."""

    set: TrainingSet
    events: EventDay
    examples: Examples

    def __len__(self) -> int:
        return len(self.events)

    def take(self, rows_N: np.ndarray) -> pa.RecordBatch:
        """Some rows, in the order asked for."""
        made, log, day = self.set, self.set.log, self.events.day
        frame = self.events.frame[rows_N]
        keys = {entity: self.examples.keys[entity][rows_N] for entity in log.entities}
        columns = [frame[TIME].to_arrow().cast(MOMENT), _repeated(day_number(day), len(frame))]
        columns += [
            plain_array(frame[name], made.schema.field(name).type)
            for name in dict.fromkeys(log.entities.values())
        ]
        columns += [
            feature_array(
                frame[name],
                log.features[name],
                made.schema.field(column).type,
                made.config.zone,
                f"log {log.name}",
            )
            for name, column in made.context.items()
        ]
        columns += [_label(self.examples.labels.get(task), rows_N) for task in made.tasks]
        for entity, table in made.tables.items():
            columns += table.gather(keys[entity], day).values()
        if made.counters:
            columns += [
                pa.array(counts, from_pandas=True)
                for counts in self.examples.counters[made.wanted.counters][rows_N].T
            ]
        edition = made.edition_on(day)
        columns.append(_repeated(None if edition is None else day_number(edition), len(frame)))
        for name in made.wanted.embeddings:
            columns += made.vectors(name, keys[entity_of(name)], day)
        return pa.RecordBatch.from_arrays(columns, schema=made.schema)


def choose(
    config: FactoryConfig,
    log: str | None,
    consumer: str | None,
    embeddings: Sequence[str] | None,
    features: bool,
) -> Wanted:
    """What is asked for, in full. Raises ConfigError."""
    if log is not None and consumer is not None:
        raise ConfigError(
            f"training set: give a log ({log!r}) or a consumer ({consumer!r}), not both."
        )
    counters = "log"
    if consumer is not None:
        if consumer not in config.downstream:
            raise ConfigError(
                f"no consumer named {consumer!r}; declared:"
                f" {', '.join(config.downstream) or 'none'}."
            )
        log, counters = (
            config.tasks[config.downstream[consumer].task].log,
            config.downstream[consumer].counters,
        )
    if log is None:
        with_tasks = list(dict.fromkeys(task.log for task in config.tasks.values()))
        if len(with_tasks) > 1:
            raise ConfigError(
                f"training set: whose rows? Name one of the logs {', '.join(with_tasks)}, or a"
                " consumer."
            )
        log = with_tasks[0]
    if log not in config.logs:
        raise ConfigError(f"no log named {log!r}; declared: {', '.join(config.logs)}.")
    known = [
        name
        for name in Schema.from_config(config, Path()).embedding_names()
        if entity_of(name) in config.logs[log].entities
    ]
    unknown = [name for name in embeddings or () if name not in known]
    if unknown:
        raise ConfigError(
            f"no embedding named {', '.join(unknown)} for the rows of the log {log!r}; there are:"
            f" {', '.join(known) or 'none'}."
        )
    return Wanted(
        log,
        tuple(known if embeddings is None else dict.fromkeys(embeddings)),
        features,
        counters if features else "none",
    )


def entity_of(embedding: str) -> str:
    """ctr_user -> user."""
    return embedding.rsplit("_", 1)[1]


def _lean(schema: Schema, wanted: Wanted) -> Schema:
    """The schema without what is not asked for, and without entity features, which are written as
    they stand and not encoded.
    """
    entities = {name: replace(entity, features={}) for name, entity in schema.entities.items()}
    return replace(
        schema, entities=entities, histories=schema.histories if wanted.counters != "none" else {}
    )


def _repeated(days: int | None, n: int) -> pa.Array:
    return (
        pa.nulls(n, pa.date32())
        if days is None
        else pa.array(np.full(n, days, np.int32)).cast(pa.date32())
    )


def _label(labels: np.ndarray | None, rows_N: np.ndarray) -> pa.Array:
    return (
        pa.nulls(len(rows_N), pa.float32())
        if labels is None
        else pa.array(labels[rows_N], pa.float32(), from_pandas=True)
    )


def _vectors(served: Served) -> pa.Array:
    """Vectors [N, D], full of nulls where nothing was found; or their sequences [N, K, D] as lists
    of those that are filled, null where none is.
    """
    if served.sequence_NKD is None or served.steps_N is None:
        return vector_array(
            served.vectors_ND, np.broadcast_to(~served.found_N[:, None], served.vectors_ND.shape)
        )
    filled_NK = np.arange(served.sequence_NKD.shape[1]) < served.steps_N[:, None]
    vectors_ND = served.sequence_NKD[filled_NK]
    offsets = pa.array(np.concatenate([[0], np.cumsum(served.steps_N)]), pa.int32())
    return pa.ListArray.from_arrays(
        offsets,
        vector_array(vectors_ND, np.zeros(vectors_ND.shape, bool)),
        mask=pa.array(~served.found_N),
    )
