"""Erasure: an entity leaves every place of a warehouse for good; a salted hash of it, the
tombstone, keeps it from coming back.
"""

from __future__ import annotations

import hashlib
import io
import secrets
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from headwater.config import FactoryConfig
from headwater.digests import digest_of
from headwater.errors import StoreError
from headwater.files import (
    new_folder,
    read_json,
    remove_folder,
    sweep_leftovers,
    write_atomic,
    write_json,
)
from headwater.ids import is_id, key_of, keys_of, mix64
from headwater.lifecycle.retention import lanes_on_disk, retire
from headwater.lifecycle.switch import REPORT, edition_of, switch_to
from headwater.schema import Schema
from headwater.store import Catalog, Entry, read_catalog
from headwater.store.catalog import home_of
from headwater.store.editions import MANIFEST, Edition
from headwater.store.merge import new_index
from headwater.store.segments import Segment, new_segment

FILE = "tombstones.json"
CACHE = "cache"  # encoded days
_HINT = np.uint64((1 << 24) - 1)
_CHUNK = 65_536
NOT_REMOVED = (
    (
        "The weights of models trained before keep what they learnt in tables whose slots many ids"
        " share; no id or vector stands in them. A new space (a lane trained from scratch) forgets"
        " that too."
    ),
    (
        "Warehouses that `headwater rebuild` wrote elsewhere are not looked at: erase there too, or"
        " remove them."
    ),
    (
        "The raw logs and entity tables are yours; Headwater reads past the entity there, but does"
        " not change them."
    ),
)


@dataclass(frozen=True)
class Tombstones:
    """Who was erased: SHA-256 of salt, entity and key. `hints` are 24 bits of another hash, so that
    few keys need the slow one.
    """

    salt: str
    hashes: frozenset[tuple[str, str]]
    hints: frozenset[int]
    pending: bool = False

    @classmethod
    def read(cls, warehouse: Path) -> Tombstones:
        path = warehouse / FILE
        if not path.is_file():
            if any((warehouse / "erasures").glob("*.json")):
                raise StoreError(
                    f"{path}: is gone, and entities were erased here ({warehouse / 'erasures'})."
                    " Restore it from a backup; without it they come back."
                )
            return cls("", frozenset(), frozenset())
        raw = read_json(path)
        try:
            return cls(
                raw["salt"],
                frozenset((entity, value) for entity, value in raw["tombstones"]),
                frozenset(raw["hints"]),
                raw["pending"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise StoreError(
                f"{path}: not a list of tombstones ({error!r}). Restore it from a backup; without"
                " it the erased come back."
            ) from error

    def write(self, warehouse: Path) -> None:
        write_json(
            warehouse / FILE,
            {
                "salt": self.salt,
                "tombstones": sorted(map(list, self.hashes)),
                "hints": sorted(self.hints),
                "pending": self.pending,
            },
        )

    @property
    def digest(self) -> str:
        return digest_of(sorted(map(list, self.hashes)))[:16] if self.hashes else ""

    def with_keys(self, entity: str, keys: Sequence[int]) -> Tombstones:
        salt = self.salt or secrets.token_hex(16)
        made = replace(self, salt=salt)
        hints = self._hints(np.array(keys, np.uint64), salt)
        return Tombstones(
            salt,
            self.hashes | {(entity, made._hash(entity, key)) for key in keys},
            self.hints | set(hints.tolist()),
            True,
        )

    def matches(self, entity: str, keys_N: np.ndarray) -> np.ndarray:
        """Which of `keys_N` were erased."""
        found = np.zeros(len(keys_N), bool)
        if self.hashes and len(keys_N):
            maybe = np.flatnonzero(
                np.isin(self._hints(keys_N, self.salt), np.array(sorted(self.hints), np.uint64))
            )
            for row in maybe:
                found[row] = (entity, self._hash(entity, int(keys_N[row]))) in self.hashes
        return found

    def _hash(self, entity: str, key: int) -> str:
        return hashlib.sha256(f"{self.salt}|{entity}|{key}".encode()).hexdigest()

    @staticmethod
    def _hints(keys_N: np.ndarray, salt: str) -> np.ndarray:
        return np.asarray(
            mix64(np.asarray(keys_N, np.uint64) ^ np.uint64(int(salt[:16], 16))) & _HINT
        )


def erase(
    warehouse: Path, config: FactoryConfig, schema: Schema, entity: str, ids: Sequence[int | str]
) -> dict[str, Any]:
    """Erase entities, and prove it. Killed anywhere after the tombstone is written, the next run
    finishes the work. Raises StoreError.
    """
    known = Tombstones.read(warehouse)
    if "" in ids:
        raise StoreError(f"erase: an id is empty; received {list(ids)}. Nothing was erased.")
    for lane, entry in read_catalog(
        warehouse
    ).mentioned():  # what cannot be read cannot be cleaned: better known before than in the middle
        for name in (edition := edition_of(warehouse, lane, entry)).snapshots:
            edition.part(name).column("row")
    keys = [key_of(value) for value in ids]
    known.with_keys(entity, keys).write(warehouse)
    proof = finish_erasures(warehouse, config, schema)
    assert proof is not None
    return proof | {"entity": entity, "asked_for": len(ids)}


def finish_erasures(
    warehouse: Path, config: FactoryConfig, schema: Schema
) -> dict[str, Any] | None:
    """Remove every erased entity from every place, if that was begun and not finished. Returns the
    proof, which it writes too.
    """
    tombstones = Tombstones.read(warehouse)
    if not tombstones.pending:
        return None
    places: list[dict[str, Any]] = []
    sweep_leftovers(warehouse)
    catalog = read_catalog(warehouse)
    lanes = lanes_on_disk(warehouse, catalog)
    for lane in lanes:
        catalog = _renew_lane(warehouse, catalog, lane, tombstones, places)
    switch_to(warehouse, config, catalog)  # one switch: no reader meets the erased after it
    for lane in lanes:
        home = home_of(warehouse, lane)
        places += _dailies(home, tombstones)
        places += _parquet(
            home,
            ("predictions", "judged"),
            tombstones,
            {entity: entity for entity in schema.entities},
            keys=True,
        )
        written = _report_files(home)
        places.append(
            {
                "place": (
                    "the report and its tables and plots (write it again with `headwater report`)"
                ),
                "files": len(written),
                "removed": len(written),
            }
        )
        for path in written:
            path.unlink()
    for log in schema.logs.values():
        places += _parquet(
            warehouse,
            (f"quarantine/{log.name}",),
            tombstones,
            {column: entity for entity, column in log.entities.items()},
        )
    backtests = warehouse / "backtests"
    places.append(
        {
            "place": "backtests",
            "files": len(list(backtests.glob("*"))),
            "removed": len(list(backtests.glob("*"))),
        }
    )
    shutil.rmtree(backtests, ignore_errors=True)
    cached = warehouse / CACHE
    places.append(
        {
            "place": "encoded days",
            "files": len(list(cached.glob("*/*/*"))),
            "removed": len(list(cached.glob("*/*/*"))),
        }
    )
    shutil.rmtree(cached, ignore_errors=True)
    removed = retire(
        warehouse, config
    )  # the old segments, editions, online copies and indexes, which no catalog names any more
    places.append(
        {
            "place": "superseded segments, editions, daily snapshots and indexes",
            "files": len(removed),
            "removed": len(removed),
        }
    )
    left = [
        str(place)
        for place in _places_with_erased(warehouse, read_catalog(warehouse), tombstones, schema)
    ]
    if left:
        raise StoreError(
            f"erase: still found in {', '.join(left)}. Nothing is lost; run it again, and report"
            " this as a bug if it stays."
        )
    proof = {
        "tombstones": sorted(value for _, value in tombstones.hashes),
        "places": places,
        "verified": True,
        "not_removed": list(NOT_REMOVED),
    }
    number = len(list((warehouse / "erasures").glob("*.json"))) + 1
    write_json(warehouse / "erasures" / f"{number:04d}.json", proof)
    replace(tombstones, pending=False).write(warehouse)
    return proof | {"proof": str(warehouse / "erasures" / f"{number:04d}.json")}


def _report_files(home: Path) -> list[Path]:
    """The report's page, tables and plots: its map of the items names some of them."""
    reports = home / "reports"
    return [
        path
        for path in (*reports.glob("*.html"), *reports.glob("tables/*"), *reports.glob("plots/*"))
        if path.is_file()
    ]


# ---- editions and segments -----------------------------------------------------------------------


def _entity_of(name: str) -> str:
    return name.rsplit("_", 1)[1]


def _renew_lane(
    warehouse: Path,
    catalog: Catalog,
    lane: str,
    tombstones: Tombstones,
    places: list[dict[str, Any]],
) -> Catalog:
    """Write the lane's segments and editions anew without the erased, beside the old ones; returns
    the catalog that names them.
    """
    home = home_of(warehouse, lane)
    renewed: dict[tuple[str, str], tuple[str, np.ndarray]] = {}
    looked = dropped = 0
    for folder in sorted((home / "segments").glob("*/*")):
        segment = Segment.open(folder)
        gone = np.flatnonzero(
            tombstones.matches(_entity_of(folder.parent.name), np.asarray(segment.keys))
        )
        looked, dropped = looked + segment.rows, dropped + len(gone)
        if len(gone):
            fresh = folder.with_name(f"{folder.name.split('-e')[0]}-e{tombstones.digest[:8]}")
            _copy_without(segment, gone, fresh)
            renewed[folder.parent.name, folder.name] = (fresh.name, gone)
    places.append({"place": f"{lane}: segments (averages)", "rows": looked, "removed": dropped})
    changes: dict[str, Entry | None] = {}
    looked = dropped = 0
    for owner, entry in catalog.mentioned():
        if owner == lane and entry.folder is not None and entry.folder not in changes:
            edition = edition_of(warehouse, lane, entry)
            made, rows, gone_rows = _renew_edition(edition, renewed, tombstones)
            looked, dropped = looked + rows, dropped + gone_rows
            if made is not None:
                changes[entry.folder] = replace(
                    entry, digest=made.digest, folder=str(made.folder.relative_to(home))
                )
    places.append({"place": f"{lane}: editions", "rows": looked, "removed": dropped})
    for folder in sorted(path.parent for path in (home / "refused").glob(f"*/*/{MANIFEST}")):
        edition = Edition.load(folder)
        if any(
            segment in {old for name, old in renewed if name == part}
            for part, found in edition.snapshots.items()
            for segment in found["segments"]
        ):
            remove_folder(folder)
            places.append(
                {"place": f"{lane}: refused edition {edition.day}", "files": 1, "removed": 1}
            )
    return catalog.renewed(changes, lane)


def _copy_without(segment: Segment, gone: np.ndarray, folder: Path) -> None:
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
    edition: Edition, renewed: dict[tuple[str, str], tuple[str, np.ndarray]], tombstones: Tombstones
) -> tuple[Edition | None, int, int]:
    """The edition over the renewed segments; None where none of its segments changed. And rows
    looked at, and removed.
    """
    rows = sum(found["rows"] for found in edition.snapshots.values())
    if not any(
        (name, segment) in renewed
        for name, found in edition.snapshots.items()
        for segment in found["segments"]
    ):
        return None, rows, 0
    folder, removed = (
        edition.folder.with_name(f"{edition.folder.name.split('-e')[0]}-e{tombstones.digest[:8]}"),
        0,
    )
    snapshots = {name: dict(found) for name, found in edition.snapshots.items()}
    with new_folder(folder) as aside:
        for extra in edition.folder.glob("*.json"):
            shutil.copyfile(extra, aside / extra.name)
        for name, found in snapshots.items():
            part = edition.part(name)
            lost = [
                renewed.get((name, segment), (segment, np.zeros(0, np.int64)))
                for segment in found["segments"]
            ]
            with new_index(aside / name) as entries:
                for low in range(0, part.rows, _CHUNK):
                    keys, seen, home, row = (
                        np.array(part.column(column)[low : low + _CHUNK])
                        for column in ("keys", "seen", "segment", "row")
                    )
                    for place, (_, gone) in enumerate(lost):
                        mine = home == place
                        row[mine] -= np.searchsorted(gone, row[mine]).astype(np.uint32)
                    kept = ~tombstones.matches(part.entity, keys)
                    entries.append(keys[kept], seen[kept], home[kept], row[kept])
            removed += part.rows - entries.rows
            found |= {
                "rows": entries.rows,
                "segments": [segment for segment, _ in lost],
                "index": entries.digests,
            }
            if entries.rows != part.rows:
                found["digest"] = digest_of("erased", part.digest, tombstones.digest)
        digest = digest_of("erased", edition.digest, tombstones.digest)
        write_json(
            aside / MANIFEST,
            read_json(edition.folder / MANIFEST) | {"snapshots": snapshots, "digest": digest},
        )
        if (aside / REPORT).is_file():
            write_json(aside / REPORT, read_json(aside / REPORT) | {"edition": digest})
    return Edition.load(folder), rows, removed


def _dailies(home: Path, tombstones: Tombstones) -> Iterator[dict[str, Any]]:
    looked = dropped = 0
    for folder in sorted(path.parent for path in (home / "daily").glob("*/*/*/segment.json")):
        segment = Segment.open(folder)
        gone = np.flatnonzero(tombstones.matches(_entity_of(folder.name), np.asarray(segment.keys)))
        looked, dropped = looked + segment.rows, dropped + len(gone)
        if len(gone):
            _copy_without(segment, gone, folder)
    yield {"place": "daily snapshots", "rows": looked, "removed": dropped}


# ---- tables --------------------------------------------------------------------------------------


def _parquet(
    home: Path,
    folders: Sequence[str],
    tombstones: Tombstones,
    entities: dict[str, str],
    keys: bool = False,
) -> Iterator[dict[str, Any]]:
    """Rewrite the Parquet files that hold rows of the erased; `entities` says which columns are ids
    (or `keys`) of what.
    """
    for place in folders:
        looked = dropped = 0
        for path in sorted((home / place).rglob("*.parquet")):
            frame = pl.read_parquet(path)
            gone = _rows_of_erased(frame, tombstones, entities, keys)
            looked, dropped = looked + len(frame), dropped + int(gone.sum())
            if gone.any():
                buffer = io.BytesIO()
                frame.filter(pl.Series(~gone)).write_parquet(buffer)
                write_atomic(path, buffer.getvalue())
        yield {"place": place, "rows": looked, "removed": dropped}


def _rows_of_erased(
    frame: pl.DataFrame, tombstones: Tombstones, entities: dict[str, str], as_keys: bool
) -> np.ndarray:
    gone = np.zeros(len(frame), bool)
    for column, entity in entities.items():
        if column not in frame.columns or not is_id(frame.schema[column]):
            continue
        there = np.flatnonzero(frame[column].is_not_null().to_numpy())
        values = frame[column].drop_nulls()
        keys = values.to_numpy() if as_keys else keys_of(values)
        gone[there] |= tombstones.matches(entity, keys)
    return gone


def _places_with_erased(
    warehouse: Path, catalog: Catalog, tombstones: Tombstones, schema: Schema
) -> Iterator[Path]:
    """Whatever still holds a key of the erased, or an online copy or an index of what is gone: the
    check after the work.
    """
    for log in schema.logs.values():
        for path in (warehouse / "quarantine" / log.name).glob("*.parquet"):
            if _rows_of_erased(
                pl.read_parquet(path),
                tombstones,
                {column: entity for entity, column in log.entities.items()},
                False,
            ).any():
                yield path
    for lane in lanes_on_disk(warehouse, catalog):
        home = home_of(warehouse, lane)
        yield from _report_files(home)
        for path in (*home.glob("predictions/*/*.parquet"), *home.glob("judged/*/*.parquet")):
            if _rows_of_erased(
                pl.read_parquet(path),
                tombstones,
                {entity: entity for entity in schema.entities},
                True,
            ).any():
                yield path
        named = {(folder.parent.name, folder.name) for folder in (home / "segments").glob("*/*")}
        yield from (
            path
            for path in (home / "online").glob("*.mdb")
            if not any(path.name.startswith(f"{name}-{segment}-") for name, segment in named)
        )
        found = [
            *(home / "segments").glob("*/*"),
            *(path.parent for path in (home / "daily").glob("*/*/*/segment.json")),
        ]
        for folder in found:
            entity = _entity_of(
                folder.name if folder.parents[2].name == "daily" else folder.parent.name
            )
            if tombstones.matches(entity, np.asarray(Segment.open(folder).keys)).any():
                yield folder
        for owner, entry in catalog.mentioned():
            if owner == lane:
                edition = edition_of(warehouse, lane, entry)
                for name in edition.snapshots:
                    if tombstones.matches(
                        _entity_of(name), np.asarray(edition.part(name).keys)
                    ).any():
                        yield edition.folder / name
