"""Editions: all snapshots of one day. An edition is a whole index of keys over segments that it
shares with its neighbours.

    editions/DAY/ID/manifest.json  ctr_user/keys.npy  seen.npy  segment.npy  row.npy

Shapes: N rows, M asked-for keys, D width of a vector, W of a state, K length of a sequence.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import polars as pl
from pydantic import TypeAdapter

from headwater.blobs import Layout
from headwater.config import PolicyConfig
from headwater.embeddings import NEVER_SEEN, Served, Snapshot, Space
from headwater.embeddings.aggregate import find
from headwater.embeddings.policies import Policy, make_policy
from headwater.embeddings.serving import Encoding, encoding_of
from headwater.embeddings.snapshot import Basis, basis_of, counted, day_number
from headwater.errors import StoreError
from headwater.files import read_json
from headwater.store.arrays import map_array
from headwater.store.segments import Segment

MANIFEST = "manifest.json"
POLICY: TypeAdapter[PolicyConfig] = TypeAdapter(PolicyConfig)
INDEX = {"keys": np.uint64, "seen": np.int32, "segment": np.uint8, "row": np.uint32}


@dataclass(frozen=True)
class Part:
    """One snapshot of an edition (such as `ctr_user`): its index, and the segments that hold its
    rows.
    """

    name: str
    space: Space
    entity: str
    digest: str
    rows: int
    folder: Path
    segments: tuple[Segment, ...]

    def column(self, name: str) -> np.ndarray:
        """A column of the index, memory-mapped: keys, seen, segment or row. Raises StoreError."""
        return map_array(self.folder / f"{name}.npy", self.rows)

    @cached_property
    def keys(self) -> np.ndarray:
        return self.column("keys")

    def gather(self, rows_M: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """States [M, W] and steps [M] of some rows of the index."""
        homes, places = (
            np.asarray(self.column("segment")[rows_M]),
            np.asarray(self.column("row")[rows_M]).astype(np.int64),
        )
        return gather(
            self.segments,
            homes,
            places,
            self.segments[0].width if self.segments else self.space.width,
        )

    def ids(self, rows_M: np.ndarray) -> list[int | str]:
        """The original ids of some rows, in order."""
        homes, places = (
            np.asarray(self.column("segment")[rows_M]),
            np.asarray(self.column("row")[rows_M]).astype(np.int64),
        )
        found = np.empty(len(rows_M), object)
        for home in np.unique(homes):
            mine = np.flatnonzero(homes == home)
            found[mine] = self.segments[home].ids_of(places[mine])
        return list(found)


def gather(
    segments: tuple[Segment, ...], homes_M: np.ndarray, places_M: np.ndarray, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """States [M, W] and steps [M] out of several segments."""
    present = np.unique(homes_M)
    if len(present) == 1:
        return segments[present[0]].gather(places_M)
    states, steps = np.empty((len(homes_M), width), np.float32), np.empty(len(homes_M), np.uint8)
    for home in present:
        mine = np.flatnonzero(homes_M == home)
        states[mine], steps[mine] = segments[home].gather(places_M[mine])
    return states, steps


@dataclass(frozen=True)
class Edition:
    """What was published for a day.

    By upstream: `models` names the checkpoints that made it, `daily` where the vectors it was made
    of lie, `rotations` how those were turned. `folder` is where its index lies.
    """

    day: dt.date
    digest: str
    policy_config: PolicyConfig
    expire_days: int
    encoding: Encoding
    snapshots: Mapping[str, Mapping[str, Any]]
    models: Mapping[str, str]
    daily: Mapping[str, str]
    rotations: Mapping[str, Any]
    folder: Path

    @staticmethod
    def is_there(folder: Path) -> bool:
        """Whether an edition lies in a folder; what it names is not looked at."""
        return (folder / MANIFEST).is_file()

    @classmethod
    def load(cls, folder: Path) -> Edition:
        """Raises StoreError."""
        raw = read_json(folder / MANIFEST)
        try:
            return cls(
                dt.date.fromisoformat(raw["day"]),
                raw["digest"],
                POLICY.validate_python(raw["policy"]),
                raw["expire_days"],
                encoding_of(raw["encoding"]),
                MappingProxyType(raw["snapshots"]),
                MappingProxyType(raw["models"]),
                MappingProxyType(raw["daily"]),
                MappingProxyType(raw["rotations"]),
                folder,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise StoreError(
                f"{folder / MANIFEST}: not an edition's manifest ({error!r})."
            ) from error

    def __reduce__(self) -> tuple[Any, tuple[Path]]:
        return Edition.load, (self.folder,)

    @property
    def layout(self) -> Layout:
        """Of the home that it lies in: the warehouse's, or one of its lanes'."""
        return Layout(self.folder.parents[2])

    @cached_property
    def policy(self) -> Policy[Any]:
        return make_policy(self.policy_config)

    @cached_property
    def _parts(self) -> dict[str, Part]:
        return {}

    def part(self, name: str) -> Part:
        if name not in self.snapshots:
            raise StoreError(
                f"edition {self.day} holds no snapshot {name!r}; it holds"
                f" {', '.join(self.snapshots)}."
            )
        if name not in self._parts:
            entry = self.snapshots[name]
            segments = tuple(
                Segment.open(self.layout.segment(name, segment)) for segment in entry["segments"]
            )
            self._parts[name] = Part(
                name,
                Space.from_json(entry["space"]),
                entry["entity"],
                entry["digest"],
                entry["rows"],
                self.folder / name,
                segments,
            )
        return self._parts[name]

    def index_name(self, name: str) -> str:
        """What an index over a snapshot's served vectors is called."""
        return self.part(name).digest + (
            "" if self.encoding.name == "float32" else f".{self.encoding.name}"
        )

    def space(self, name: str) -> Space:
        return self.part(name).space

    def rows(self, name: str, rows_M: np.ndarray) -> Snapshot:
        """Some rows of a snapshot (ascending), each entity's one vector, as averaged."""
        part = self.part(name)
        points = self.policy.point(*part.gather(rows_M))
        keys, seen = np.array(part.keys[rows_M]), np.array(part.column("seen")[rows_M])
        return Snapshot(
            part.space, part.entity, self.day, keys, points, seen, _series(part.ids(rows_M))
        )

    def read(self, name: str) -> Snapshot:
        """The whole snapshot `name`, such as `ctr_user`, in memory."""
        return self.rows(name, np.arange(self.part(name).rows))

    def pick(self, name: str, keys_M: np.ndarray) -> Snapshot:
        """The rows of those of some keys (ascending) that the snapshot has."""
        rows, found = find(self.part(name).keys, keys_M)
        return self.rows(name, rows[found])

    def sample(self, name: str, most: int) -> Snapshot:
        """At most `most` rows, evenly spread over the (hashed) keys."""
        rows = self.part(name).rows
        return self.rows(
            name,
            (
                np.unique(np.linspace(0, rows - 1, min(rows, most)).astype(np.int64))
                if rows
                else np.zeros(0, np.int64)
            ),
        )

    def lookup(self, name: str, keys_M: np.ndarray, rows_of: dt.date) -> Served:
        """What is served for each key: vectors as they come out of the serving copy."""
        part = self.part(name)
        rows, found = find(part.keys, keys_M)
        hit = np.flatnonzero(found)
        ages = np.zeros(len(keys_M), np.float32)
        ages[hit] = day_number(rows_of) - part.column("seen")[rows[hit]]
        states, steps = part.gather(rows[hit])
        ages[hit[basis_of(steps) != Basis.SEEN]] = NEVER_SEEN
        if not self.policy.sequence:
            vectors = self.encoding.as_served(self.policy.point(states, steps))
            if len(hit) < len(keys_M):
                some, vectors = vectors, np.zeros((len(keys_M), part.space.width), np.float32)
                vectors[hit] = some
            return Served(part.space, vectors, found, ages)
        sequence = np.zeros((len(keys_M), self.policy.depth, part.space.width), np.float32)
        sequence[hit] = self.encoding.as_served(states).reshape(
            len(hit), self.policy.depth, part.space.width
        )
        counts = np.zeros(len(keys_M), np.int64)
        counts[hit] = counted(steps)
        return Served(part.space, sequence[:, 0], found, ages, sequence, counts)

    def points(self, name: str) -> np.ndarray:
        """Every entity's one vector, as served, float32 [N, D], in the order of the keys; for an
        index.
        """
        states, steps = self.part(name).gather(np.arange(self.part(name).rows))
        return self.encoding.as_served(self.policy.point(states, steps))


def _series(ids: list[int | str]) -> pl.Series:
    if all(isinstance(value, int) for value in ids):
        return pl.Series("id", ids, dtype=pl.Int64)
    return pl.Series("id", [str(value) for value in ids], dtype=pl.String)
