"""A factory's published vectors as a Feast repository: Feast's point-in-time join over it gives
what Headwater served. Feast is not needed here.

Of an entity a file holds one row per day on which its published vector changed, since a vector that
is carried forward does not change. Where nothing is served, a row says so too (its vector is null):
one from the beginning of time on, and one from the day on which the entity expires. So no `ttl` is
needed, which could only be as exact as days are 24 hours long and every day was run; and so Feast's
file store, which drops training rows of an entity that has later rows only, keeps them all.

Shapes: M entities of a bucket, D width of a vector, K length of a sequence.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from headwater.config import FactoryConfig
from headwater.console import SILENT, Console
from headwater.embeddings import NEVER_SEEN, Served
from headwater.embeddings.aggregate import find
from headwater.embeddings.snapshot import EPOCH, day_number
from headwater.errors import EditionMissing, StoreError
from headwater.events.times import day_bounds_us
from headwater.files import new_folder
from headwater.lifecycle.timeline import Timeline
from headwater.store import Edition
from headwater.store.arrays import key_ranges, rows_between
from headwater.store.editions import Part
from headwater.workspace import Workspace

MOMENT = pa.timestamp("us", tz="UTC")
EVER = 0  # microseconds since 1970


def export_feast(
    factory_yaml: str | Path,
    out: str | Path,
    start: dt.date | None = None,
    end: dt.date | None = None,
    *,
    lane: str | None = None,
    console: Console = SILENT,
) -> dict[str, Any]:
    """Write `feature_store.yaml`, `features.py` and `data/NAME.parquet` for every embedding into
    the empty folder `out`, whole or not at all.

    Of the editions of `start` to `end` (default: all that are kept) of a lane (default: the live
    one); rows from `lag_days` after `start` on are answered as Headwater answered them, earlier
    ones with nothing. Returns what was written, by embedding. Raises EditionMissing where there is
    no such edition; SpaceMismatch where they are of two spaces; StoreError where `out` is not
    empty.
    """
    path, out = Path(factory_yaml), Path(out)
    if out.exists() and any(out.iterdir()):
        raise StoreError(f"{out}: not empty. Choose an empty folder.")
    workspace = Workspace.load(path)
    export = _Export(workspace.of_lane(lane or workspace.live_lane()), start, end)
    found: dict[str, Any] = {}
    with new_folder(out) as aside:
        (aside / "data").mkdir()
        with console.progress("feast", len(export.names)) as bar:
            for name in export.names:
                found[name] = export.write(name, aside / "data" / f"{name}.parquet")
                bar.advance(name)
        (aside / "feature_store.yaml").write_text(
            STORE.substitute(project=re.sub(r"[^A-Za-z0-9_]", "_", workspace.config.name))
        )
        (aside / "features.py").write_text(export.definitions())
    return {
        "repository": str(out),
        "lane": export.lane,
        "first_day": str(export.entries[0].day),
        "last_day": str(export.entries[-1].day),
        "embeddings": found,
    }


class _Export:
    """The editions of one lane, and how their rows become a file."""

    def __init__(
        self,
        workspace: Workspace,
        start: dt.date | None,
        end: dt.date | None,
    ) -> None:
        self.config, self.lane, self.schema = workspace.config, workspace.lane, workspace.schema
        self.timeline = Timeline(workspace)
        self.erased = workspace.tombstones().matches
        kept = [entry for entry in self.timeline.chain.readable if entry.folder is not None]
        self.entries = [
            entry
            for entry in kept
            if (start is None or entry.day >= start) and (end is None or entry.day <= end)
        ]
        if not self.entries:
            have = f"kept are {kept[0].day} to {kept[-1].day}" if kept else "it has none"
            raise EditionMissing(
                f"feast: the lane {self.lane!r} has no edition from {start or 'the start'} to"
                f" {end or 'the end'}; {have}."
            )
        spaces = {
            name: self.timeline.space(name, self.entries) for name in self.schema.embedding_names()
        }
        self.spaces = {name: space for name, space in spaces.items() if space is not None}
        self.names = tuple(self.spaces)
        self.keys = {
            entity: self._key(entity) for entity in dict.fromkeys(map(_entity_of, self.names))
        }
        self.integers = {entity: self._integers(entity) for entity in self.keys}

    def _key(self, entity: str) -> str:
        """The join key: what the first log that has the entity calls its id."""
        return next(
            log.entities[entity] for log in self.schema.logs.values() if entity in log.entities
        )

    def _integers(self, entity: str) -> bool:
        """Whether all ids of an entity are integers, in each of its embeddings."""
        parts = [
            edition.part(name)
            for edition in map(self.timeline.open, self.entries)
            for name in self.names
            if _entity_of(name) == entity and name in edition.snapshots
        ]
        return all(segment.integers for part in parts for segment in part.segments)

    # ---- the rows --------------------------------------------------------------------------------

    def write(self, name: str, path: Path) -> dict[str, Any]:
        """The file of an embedding, edition by edition; returns how many rows and entities it
        holds.
        """
        key = self.keys[_entity_of(name)]
        id_type = pa.int64() if self.integers[_entity_of(name)] else pa.string()
        schema = pa.schema(
            [
                (key, id_type),
                ("event_timestamp", MOMENT),
                (name, pa.list_(pa.float32())),
                (f"{name}_last_seen", MOMENT),
            ]
        )
        rows, entities, before = 0, 0, None
        plain = [field.name for field in schema if field.name != name]
        with pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=plain) as writer:
            for edition in map(self.timeline.open, self.entries):
                for change in self._changes(name, edition, before):
                    writer.write_table(change.table(schema, self.config))
                    rows, entities = (
                        rows + len(change.ids),
                        entities + (len(change.ids) if change.begins_us == EVER else 0),
                    )
                before = edition
        return {"rows": rows, "entities": entities, "space": str(self.spaces[name])}

    def _changes(self, name: str, edition: Edition, before: Edition | None) -> Iterator[_Change]:
        """What an edition changed of what is served, bucket by bucket: its fresh vectors (of the
        first edition all), who is new, and who is gone.
        """
        begins = day_bounds_us(
            edition.day + dt.timedelta(days=self.config.lifecycle.lag_days), self.config.zone
        )[0]
        old_part, part = (
            None if found is None or name not in found.snapshots else found.part(name)
            for found in (before, edition)
        )
        for low, high in key_ranges(
            max(found.rows for found in (old_part, part) if found is not None),
            self.config.store.bucket_rows,
        ):
            old, now = _Bucket.of(old_part, low, high), _Bucket.of(part, low, high)
            kept, known = ~self.erased(_entity_of(name), now.keys), find(old.keys, now.keys)[1]
            fresh = np.flatnonzero(kept & (~known | (now.seen == day_number(edition.day))))
            gone = np.flatnonzero(
                ~find(now.keys, old.keys)[1] & ~self.erased(_entity_of(name), old.keys)
            )
            new = np.flatnonzero(kept & ~known)
            if len(fresh):
                yield _Change(
                    now.ids(fresh),
                    begins,
                    now.seen[fresh],
                    edition.lookup(name, now.keys[fresh], edition.day),
                )
            if len(new):
                yield _Change(now.ids(new), EVER)
            if len(gone):
                yield _Change(old.ids(gone), begins)

    # ---- the definitions -------------------------------------------------------------------------

    def definitions(self) -> str:
        """`features.py`."""
        about = {
            "lane": self.lane,
            "lag_days": self.config.lifecycle.lag_days,
            "expire_days": self.config.lifecycle.expire_days,
            "first_edition": str(self.entries[0].day),
            "last_edition": str(self.entries[-1].day),
        }
        text = HEADER
        for entity, key in self.keys.items():
            text += ENTITY.substitute(
                entity=entity, key=key, kind="INT64" if self.integers[entity] else "STRING"
            )
        for name in self.names:
            entity = _entity_of(name)
            tags = {"space": str(self.spaces[name]), "width": self.spaces[name].width} | about
            text += VIEW.substitute(
                name=name,
                entity=entity,
                key=self.keys[entity],
                dtype="Int64" if self.integers[entity] else "String",
                tags={tag: str(value) for tag, value in tags.items()},
                zone=self.config.time_zone,
            )
        return text


@dataclass(frozen=True)
class _Bucket:
    """The rows of a part whose keys lie in a range."""

    part: Part | None
    first: int
    keys: np.ndarray
    seen: np.ndarray

    @classmethod
    def of(cls, part: Part | None, low: int, high: int) -> _Bucket:
        if part is None:
            return cls(None, 0, np.zeros(0, np.uint64), np.zeros(0, np.int32))
        first, last = rows_between(part.keys, low, high)
        return cls(
            part, first, np.array(part.keys[first:last]), np.array(part.column("seen")[first:last])
        )

    def ids(self, rows_M: np.ndarray) -> list[int | str]:
        assert self.part is not None
        return self.part.ids(self.first + rows_M)


@dataclass(frozen=True)
class _Change:
    """What is served of some entities from a moment on; without `served`, nothing."""

    ids: list[int | str]
    begins_us: int
    seen_M: np.ndarray | None = None
    served: Served | None = None

    def table(self, schema: pa.Schema, config: FactoryConfig) -> pa.Table:
        n = len(self.ids)
        ids = pa.array(
            self.ids if schema.field(0).type == pa.int64() else [str(value) for value in self.ids],
            schema.field(0).type,
        )
        begins = pa.array(np.full(n, self.begins_us)).cast(MOMENT)
        if self.served is None or self.seen_M is None:
            return pa.table(
                [ids, begins, pa.nulls(n, schema.field(2).type), pa.nulls(n, MOMENT)], schema=schema
            )
        days, which_M = np.unique(self.seen_M, return_inverse=True)
        midnights = np.array(
            [day_bounds_us(EPOCH + dt.timedelta(days=int(day)), config.zone)[0] for day in days]
        )
        never_M = self.served.age_days_N == NEVER_SEEN
        return pa.table(
            [
                ids,
                begins,
                _lists(self.served),
                pa.array(midnights[which_M], mask=never_M).cast(MOMENT),
            ],
            schema=schema,
        )


def _lists(served: Served) -> pa.Array:
    """A vector [D] per entity; of a sequence [K, D] those that are filled, end to end, newest
    first.
    """
    if served.sequence_NKD is None or served.steps_N is None:
        lengths_M, numbers = np.full(len(served.vectors_ND), served.space.width), served.vectors_ND
    else:
        lengths_M = served.steps_N * served.space.width
        numbers = served.sequence_NKD[
            np.arange(served.sequence_NKD.shape[1]) < served.steps_N[:, None]
        ]
    offsets = np.concatenate([[0], np.cumsum(lengths_M)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(numbers.reshape(-1)))


def _entity_of(embedding: str) -> str:
    """ctr_user -> user."""
    return embedding.rsplit("_", 1)[1]


STORE = Template("""\
# Written by `headwater export feast`.
project: $project
provider: local
registry: data/registry.db
offline_store: {type: file}
online_store: {type: sqlite, path: data/online_store.db}
entity_key_serialization_version: 3
""")

HEADER = '''\
"""Written by `headwater export feast`: what Headwater published, as Feast feature views.

`feast apply` registers them. Each embedding NAME has a view NAME with its vector (null: nothing was
served) and the day on which its entity was last seen (null: never yet, the vector is of its
content), and a view NAME_freshness: the days from then to the `request_time` of a row or request.
"""

from datetime import timedelta
from pathlib import Path

import pandas as pd
from feast import Entity, FeatureView, Field, FileSource, RequestSource, ValueType
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Array, Float32, Float64, Int64, String, UnixTimestamp

DATA = Path(__file__).resolve().parent / "data"
NO_END = timedelta(0)  # a row says when an entity expires; see its null vector

request = RequestSource(name="request", schema=[Field(name="request_time", dtype=UnixTimestamp)])

'''

ENTITY = Template("""
$entity = Entity(name="$entity", join_keys=["$key"], value_type=ValueType.$kind)
""")

VIEW = Template('''

$name = FeatureView(
    name="$name",
    entities=[$entity],
    ttl=NO_END,
    schema=[
        Field(name="$key", dtype=$dtype),
        Field(name="$name", dtype=Array(Float32)),
        Field(name="${name}_last_seen", dtype=UnixTimestamp),
    ],
    source=FileSource(
        name="${name}_editions",
        path=str(DATA / "$name.parquet"),
        timestamp_field="event_timestamp",
    ),
    tags=$tags,
)


@on_demand_feature_view(
    sources=[$name, request], schema=[Field(name="${name}_age_days", dtype=Float64)]
)
def ${name}_freshness(inputs: pd.DataFrame) -> pd.DataFrame:
    """Whole days, by midnights of the factory's time zone."""
    import pandas as pd  # Feast keeps this function alone, without what stands around it

    def midnight(name: str) -> pd.Series:
        moments = pd.to_datetime(inputs[name], utc=True)
        return moments.dt.tz_convert("$zone").dt.tz_localize(None).dt.normalize()

    age = midnight("request_time") - midnight("${name}_last_seen")
    return pd.DataFrame({"${name}_age_days": age.dt.days.astype("float64")})
''')
