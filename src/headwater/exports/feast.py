"""A factory's published vectors as a Feast repository.

Feast's point-in-time join over it gives what Headwater served. Feast is not needed here.

Of an entity a file holds one row per day on which its published vector changed, since a vector that
is carried forward does not change. Where nothing is served, a row says so too (its vector is null):
one from the beginning of time on, and one from the day on which the entity expires. So no `ttl` is
needed, which could only be as exact as days are 24 hours long and every day was run; and so Feast's
file store, which drops training rows of an entity that has later rows only, keeps them all.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from headwater.console import SILENT, Console
from headwater.errors import EditionMissing, StoreError
from headwater.exports.choices import entity_of
from headwater.exports.feast_rows import EVER, MOMENT, changes
from headwater.exports.feast_templates import ENTITY, HEADER, STORE, VIEW
from headwater.files import new_folder
from headwater.lifecycle.timeline import Timeline
from headwater.store import Entry
from headwater.workspace import Workspace


@dataclass(frozen=True)
class WrittenEmbedding:
    """The file of an embedding: its rows, its entities and the space of its vectors."""

    rows: int
    entities: int
    space: str


@dataclass(frozen=True)
class FeastExport:
    """What was written, and of which editions."""

    repository: Path
    lane: str
    first_day: dt.date
    last_day: dt.date
    embeddings: Mapping[str, WrittenEmbedding]

    def as_json(self) -> dict[str, Any]:
        return {
            "repository": str(self.repository),
            "lane": self.lane,
            "first_day": str(self.first_day),
            "last_day": str(self.last_day),
            "embeddings": {name: asdict(written) for name, written in self.embeddings.items()},
        }


def export_feast(
    factory_yaml: str | Path,
    out: str | Path,
    start: dt.date | None = None,
    end: dt.date | None = None,
    *,
    lane: str | None = None,
    console: Console = SILENT,
) -> FeastExport:
    """Write `feature_store.yaml`, `features.py` and `data/NAME.parquet` for every embedding into
    the empty folder `out`, whole or not at all.

    They are of the editions of `start` to `end` (default: all that are kept) of a lane (default:
    the live one). Rows from `lag_days` after `start` on are answered as Headwater answered them,
    earlier ones with nothing. Raises EditionMissing where there is no such edition; SpaceMismatch
    where they are of two spaces; StoreError where `out` is not empty.
    """
    path = Path(factory_yaml)
    out = Path(out)
    if out.exists() and any(out.iterdir()):
        raise StoreError(f"{out}: not empty. Choose an empty folder.")
    workspace = Workspace.load(path)
    workspace = workspace.of_lane(lane or workspace.live_lane())
    published = _Published(workspace, start, end)
    found = {}
    with new_folder(out) as aside:
        (aside / "data").mkdir()
        with console.progress("feast", len(published.spaces)) as bar:
            for name in published.spaces:
                found[name] = published.write(name, aside / "data" / f"{name}.parquet")
                bar.advance(name)
        project = re.sub(r"[^A-Za-z0-9_]", "_", workspace.config.name)
        (aside / "feature_store.yaml").write_text(STORE.substitute(project=project))
        (aside / "features.py").write_text(published.definitions())
    first = published.entries[0].day
    last = published.entries[-1].day
    return FeastExport(out, published.lane, first, last, found)


@dataclass(frozen=True)
class _Key:
    """The join key of an entity: its column, and whether all its ids are integers."""

    column: str
    integers: bool


class _Published:
    """The editions of one lane, and how their rows become files."""

    def __init__(
        self,
        workspace: Workspace,
        start: dt.date | None,
        end: dt.date | None,
    ) -> None:
        self.config = workspace.config
        self.lane = workspace.lane
        self.schema = workspace.schema
        self.timeline = Timeline(workspace)
        self.erased = workspace.tombstones().matches
        self.entries = self._between(start, end)
        spaces = {
            name: self.timeline.space(name, self.entries) for name in self.schema.embedding_names()
        }
        self.spaces = {name: space for name, space in spaces.items() if space is not None}
        self.keys = {
            entity: _Key(self._column(entity), self._has_integers(entity))
            for entity in dict.fromkeys(map(entity_of, self.spaces))
        }

    def _between(self, start: dt.date | None, end: dt.date | None) -> list[Entry]:
        """The editions that are kept, of some days. Raises EditionMissing where there is none."""
        kept = [entry for entry in self.timeline.chain.readable if entry.folder is not None]
        entries = [
            entry
            for entry in kept
            if (start is None or entry.day >= start) and (end is None or entry.day <= end)
        ]
        if not entries:
            have = f"kept are {kept[0].day} to {kept[-1].day}" if kept else "it has none"
            raise EditionMissing(
                f"feast: the lane {self.lane!r} has no edition from {start or 'the start'} to"
                f" {end or 'the end'}; {have}."
            )
        return entries

    def _column(self, entity: str) -> str:
        """What the first log that has an entity calls its id."""
        return next(
            log.entities[entity] for log in self.schema.logs.values() if entity in log.entities
        )

    def _has_integers(self, entity: str) -> bool:
        """Whether all ids of an entity are integers, in each of its embeddings."""
        parts = [
            edition.part(name)
            for edition in map(self.timeline.open, self.entries)
            for name in self.spaces
            if entity_of(name) == entity and name in edition.snapshots
        ]
        return all(segment.integers for part in parts for segment in part.segments)

    def write(self, name: str, path: Path) -> WrittenEmbedding:
        """Write the file of an embedding, edition by edition."""
        key = self.keys[entity_of(name)]
        schema = pa.schema(
            [
                (key.column, pa.int64() if key.integers else pa.string()),
                ("event_timestamp", MOMENT),
                (name, pa.list_(pa.float32())),
                (f"{name}_last_seen", MOMENT),
            ]
        )
        rows = 0
        entities = 0
        before = None
        plain = [field.name for field in schema if field.name != name]
        with pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=plain) as writer:
            for edition in map(self.timeline.open, self.entries):
                for change in changes(name, before, edition, self.config, self.erased):
                    writer.write_table(change.table(schema, self.config.zone))
                    rows += len(change.ids)
                    if change.begins_us == EVER:  # an entity's first row
                        entities += len(change.ids)
                before = edition
        return WrittenEmbedding(rows, entities, str(self.spaces[name]))

    def definitions(self) -> str:
        """The text of `features.py`."""
        lifecycle = self.config.lifecycle
        about = {
            "lane": self.lane,
            "lag_days": lifecycle.lag_days,
            "expire_days": lifecycle.expire_days,
            "first_edition": str(self.entries[0].day),
            "last_edition": str(self.entries[-1].day),
        }
        text = HEADER
        for entity, key in self.keys.items():
            kind = "INT64" if key.integers else "STRING"
            text += ENTITY.substitute(entity=entity, key=key.column, kind=kind)
        for name, space in self.spaces.items():
            key = self.keys[entity_of(name)]
            tags = {"space": str(space), "width": space.width} | about
            text += VIEW.substitute(
                name=name,
                entity=entity_of(name),
                key=key.column,
                dtype="Int64" if key.integers else "String",
                tags={tag: str(value) for tag, value in tags.items()},
                zone=self.config.time_zone,
            )
        return text
