"""Segments, editions, daily vectors and tables written anew without those who were erased."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from headwater.blobs import Layout
from headwater.digests import digest_of
from headwater.files import new_folder, read_json, remove_folder, write_atomic, write_json
from headwater.ids import is_id, keys_of
from headwater.store import Catalog, Edition, Entry, Segment, Tombstones
from headwater.store.editions import MANIFEST, Part
from headwater.store.merge import new_index
from headwater.store.reports import read_report, write_report
from headwater.store.rewrite import copy_notes
from headwater.store.segments import new_segment
from headwater.workspace import open_edition

_CHUNK = 65_536


@dataclass(frozen=True)
class Place:
    """A place that was looked at: how many `rows` or `files`, and how many of them went."""

    name: str
    looked_at: int
    removed: int
    unit: str = "rows"

    def as_json(self) -> dict[str, Any]:
        return {"place": self.name, self.unit: self.looked_at, "removed": self.removed}


@dataclass(frozen=True)
class Renewed:
    """A segment that was written anew: its new identity, and the rows that it lost."""

    identity: str
    gone: np.ndarray


@dataclass(frozen=True)
class RenewedEdition:
    """An edition over renewed segments (None where it kept them all), and what was looked at."""

    edition: Edition | None
    rows: int
    removed: int


def entity_of(snapshot: str) -> str:
    """The entity of a snapshot such as `ctr_user`."""
    return snapshot.rsplit("_", 1)[1]


def renew_lane(
    layout: Layout, catalog: Catalog, tombstones: Tombstones
) -> tuple[Catalog, list[Place]]:
    """Write a lane's segments and editions anew without the erased, beside the old ones; returns
    the catalog that names them, and what was looked at.
    """
    renewed, place = _renew_segments(layout, tombstones)
    places, changes = [place], dict[str, Entry | None]()
    looked = removed = 0
    for owner, entry in catalog.mentioned():
        if owner != layout.lane or entry.folder is None or entry.folder in changes:
            continue
        found = _renew_edition(open_edition(layout, entry), renewed, tombstones)
        looked += found.rows
        removed += found.removed
        if found.edition is not None:
            folder = layout.key(found.edition.folder)
            changes[entry.folder] = replace(entry, digest=found.edition.digest, folder=folder)
    places.append(Place(f"{layout.lane}: editions", looked, removed))
    for refused in layout.refusals():
        edition = Edition.load(refused)
        if _rests_on(edition, renewed):
            remove_folder(refused)
            places.append(Place(f"{layout.lane}: refused edition {edition.day}", 1, 1, "files"))
    return catalog.renewed(changes, layout.lane), places


def _renew_segments(
    layout: Layout, tombstones: Tombstones
) -> tuple[dict[tuple[str, str], Renewed], Place]:
    """By snapshot and old identity, the segments that held someone erased."""
    renewed: dict[tuple[str, str], Renewed] = {}
    looked = removed = 0
    for folder in layout.segments():
        segment, name = Segment.open(folder), folder.parent.name
        keys = np.asarray(segment.keys)
        gone = np.flatnonzero(tombstones.matches(entity_of(name), keys))
        looked += segment.rows
        removed += len(gone)
        if len(gone):
            fresh = _beside(folder, tombstones)
            copy_without(segment, gone, fresh)
            renewed[name, folder.name] = Renewed(fresh.name, gone)
    return renewed, Place(f"{layout.lane}: segments (averages)", looked, removed)


def _beside(folder: Path, tombstones: Tombstones) -> Path:
    return folder.with_name(f"{folder.name.split('-e')[0]}-e{tombstones.digest[:8]}")


def _rests_on(edition: Edition, renewed: Mapping[tuple[str, str], Renewed]) -> bool:
    return any(
        (name, segment) in renewed
        for name, found in edition.snapshots.items()
        for segment in found["segments"]
    )


def copy_without(segment: Segment, gone: np.ndarray, folder: Path) -> None:
    """A segment again, without some rows."""
    kept = np.ones(segment.rows, bool)
    kept[gone] = False
    with new_segment(folder, segment.width, segment.integers) as out:
        for low in range(0, segment.rows, _CHUNK):
            high = min(low + _CHUNK, segment.rows)
            mine = kept[low:high]
            out.append(
                segment.keys_between(low, high)[mine],
                segment.states(low, high)[mine],
                segment.steps(low, high)[mine],
                segment.seen(low, high)[mine],
                segment.ids(low, high).filter(pl.Series(mine)),
            )


def _renew_edition(
    edition: Edition, renewed: Mapping[tuple[str, str], Renewed], tombstones: Tombstones
) -> RenewedEdition:
    rows = sum(found["rows"] for found in edition.snapshots.values())
    if not _rests_on(edition, renewed):
        return RenewedEdition(None, rows, 0)
    folder = _beside(edition.folder, tombstones)
    digest = digest_of("erased", edition.digest, tombstones.digest)
    with new_folder(folder) as aside:
        copy_notes(edition.folder, aside)
        snapshots = {}
        for name, found in edition.snapshots.items():
            part = edition.part(name)
            snapshots[name] = dict(found) | _renew_part(part, aside / name, renewed, tombstones)
        manifest = read_json(edition.folder / MANIFEST)
        write_json(aside / MANIFEST, manifest | {"snapshots": snapshots, "digest": digest})
        report = read_report(aside)
        if report is not None:
            write_report(aside, report.of_edition(digest))
    left = sum(found["rows"] for found in snapshots.values())
    return RenewedEdition(Edition.load(folder), rows, rows - left)


def _renew_part(
    part: Part,
    index: Path,
    renewed: Mapping[tuple[str, str], Renewed],
    tombstones: Tombstones,
) -> dict[str, Any]:
    """A snapshot's index over the renewed segments; what the manifest says of it then."""
    names = [segment.folder.name for segment in part.segments]
    nothing = np.zeros(0, np.int64)
    lost = [renewed.get((part.name, name), Renewed(name, nothing)) for name in names]
    with new_index(index) as entries:
        for low in range(0, part.rows, _CHUNK):
            keys, seen, home, row = (
                np.array(part.column(column)[low : low + _CHUNK])
                for column in ("keys", "seen", "segment", "row")
            )
            for place, segment in enumerate(lost):
                mine = home == place
                row[mine] -= np.searchsorted(segment.gone, row[mine]).astype(np.uint32)
            kept = ~tombstones.matches(part.entity, keys)
            entries.append(keys[kept], seen[kept], home[kept], row[kept])
    found: dict[str, Any] = {
        "rows": entries.rows,
        "segments": [segment.identity for segment in lost],
        "index": entries.digests,
    }
    if entries.rows != part.rows:
        found["digest"] = digest_of("erased", part.digest, tombstones.digest)
    return found


def clean_dailies(layout: Layout, tombstones: Tombstones) -> Place:
    """Rewrite a lane's daily vectors, in place, where they hold someone erased."""
    looked = removed = 0
    for folder in layout.daily_segments():
        segment = Segment.open(folder)
        keys = np.asarray(segment.keys)
        gone = np.flatnonzero(tombstones.matches(entity_of(folder.name), keys))
        looked += segment.rows
        removed += len(gone)
        if len(gone):
            copy_without(segment, gone, folder)
    return Place("daily snapshots", looked, removed)


def clean_tables(
    place: str,
    paths: Sequence[Path],
    tombstones: Tombstones,
    columns: Mapping[str, str],
    as_keys: bool = False,
) -> Place:
    """Rewrite the Parquet files that hold rows of the erased; `columns` says which columns are ids
    (or, if so, keys) of which entity.
    """
    looked = removed = 0
    for path in paths:
        frame = pl.read_parquet(path)
        gone = _rows_of_erased(frame, tombstones, columns, as_keys)
        looked += len(frame)
        removed += int(gone.sum())
        if gone.any():
            buffer = io.BytesIO()
            frame.filter(pl.Series(~gone)).write_parquet(buffer)
            write_atomic(path, buffer.getvalue())
    return Place(place, looked, removed)


def remove_stale_parts(paths: Sequence[Path], columns: Mapping[str, str]) -> None:
    """Remove what was cut from a log before its ids were declared as they are now."""
    for path in paths:
        if not {*columns} <= {*pl.read_parquet_schema(path)}:
            path.unlink()


def holds_erased(
    path: Path, tombstones: Tombstones, columns: Mapping[str, str], as_keys: bool = False
) -> bool:
    """Whether a Parquet file holds a row of someone erased; see `clean_tables`."""
    return bool(_rows_of_erased(pl.read_parquet(path), tombstones, columns, as_keys).any())


def _rows_of_erased(
    frame: pl.DataFrame, tombstones: Tombstones, columns: Mapping[str, str], as_keys: bool
) -> np.ndarray:
    gone = np.zeros(len(frame), bool)
    for column, entity in columns.items():
        if column not in frame.columns or not is_id(frame.schema[column]):
            continue
        there = np.flatnonzero(frame[column].is_not_null().to_numpy())
        values = frame[column].drop_nulls()
        keys = values.to_numpy() if as_keys else keys_of(values)
        gone[there] |= tombstones.matches(entity, keys)
    return gone
