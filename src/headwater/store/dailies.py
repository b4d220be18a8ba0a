"""A day's fresh vectors on disk, an upstream a folder: what editions are made of."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xxhash

from headwater.digests import digest_of
from headwater.embeddings import Snapshot, Space
from headwater.embeddings.daily import Training
from headwater.embeddings.snapshot import steps_of
from headwater.errors import StoreError
from headwater.files import new_folder, read_json, write_json
from headwater.ids import as_integers
from headwater.store.arrays import key_ranges, rows_between
from headwater.store.segments import Segment, new_segment

MANIFEST = "daily.json"
MADE = "made.json"


@dataclass(frozen=True)
class Daily:
    """One daily snapshot: the fresh vectors that an upstream made of an entity."""

    name: str
    space: Space
    entity: str
    day: dt.date
    segment: Segment

    @property
    def digest(self) -> str:
        return digest_of(str(self.space), self.entity, self.segment.digest)


def write_daily(
    folder: Path, day: dt.date, snapshots: Sequence[Snapshot], bucket_rows: int
) -> None:
    """Keep a day's fresh vectors, whole or not at all. Raises StoreError for a snapshot of another
    day.
    """
    wrong = [f"{snapshot.name} of {snapshot.day}" for snapshot in snapshots if snapshot.day != day]
    if wrong:
        raise StoreError(f"daily snapshots of {day}: received {', '.join(wrong)}.")
    with new_folder(folder) as aside:
        for snapshot in snapshots:
            write_snapshot(aside / snapshot.name, snapshot, bucket_rows)
        listed = {
            snapshot.name: {"entity": snapshot.entity, "space": snapshot.space.as_json()}
            for snapshot in snapshots
        }
        write_json(aside / MANIFEST, {"day": str(day), "snapshots": listed})


def read_daily(folder: Path, day: dt.date) -> dict[str, Daily] | None:
    """The fresh vectors in a folder, by name; None where they were not kept. Raises StoreError."""
    if not (folder / MANIFEST).is_file():
        return None
    return {
        name: Daily(
            name,
            Space.from_json(entry["space"]),
            entry["entity"],
            day,
            Segment.open(folder / name),
        )
        for name, entry in read_json(folder / MANIFEST)["snapshots"].items()
    }


@dataclass(frozen=True)
class Made:
    """How a day's vectors were made: the learning, and the digests of the files that the next day
    goes on from, by name.
    """

    training: Training
    state: Mapping[str, str]


def write_made(folder: Path, training: Training, state: Mapping[str, str]) -> None:
    """Put it beside the vectors; until then they do not count as finished."""
    write_json(folder / MADE, {"training": training.as_json(), "state": dict(state)})


def read_made(folder: Path) -> Made:
    """Raises StoreError where the vectors there were not finished."""
    raw = read_json(folder / MADE)
    return Made(Training.from_json(raw["training"]), raw["state"])


def digests_in(folder: Path) -> dict[str, str]:
    """XXH3-128 of every file in a folder, by its path in there."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): xxhash.xxh3_128_hexdigest(path.read_bytes())
        for path in files
    }


def write_snapshot(folder: Path, snapshot: Snapshot, bucket_rows: int) -> None:
    """A snapshot in memory as a segment; its steps tell what each vector rests on."""
    steps = steps_of(snapshot)
    with new_segment(folder, snapshot.space.width, as_integers(snapshot.ids)) as out:
        for low, high in key_ranges(len(snapshot), bucket_rows):
            first, last = rows_between(snapshot.keys_N, low, high)
            rows = slice(first, last)
            out.append(
                snapshot.keys_N[rows],
                np.asarray(snapshot.vectors_ND[rows]),
                steps[rows],
                snapshot.seen_N[rows],
                snapshot.ids[rows],
            )
