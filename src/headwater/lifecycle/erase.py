"""Erasure: an entity leaves every place of a warehouse for good; a salted hash of it, the
tombstone, keeps it from coming back.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from headwater.blobs import Layout
from headwater.config import FactoryConfig
from headwater.errors import StoreError
from headwater.files import sweep_leftovers, write_json
from headwater.ids import key_of
from headwater.lifecycle.renew import (
    Place,
    clean_dailies,
    clean_tables,
    entity_of,
    holds_erased,
    remove_stale_parts,
    renew_lane,
)
from headwater.lifecycle.retention import lanes_of, retire
from headwater.lifecycle.serve import online_folder, online_of
from headwater.lifecycle.switch import switch_to
from headwater.schema import Schema
from headwater.store import Catalog, Segment, Tombstones
from headwater.workspace import Workspace, open_edition

NOT_REMOVED = (
    (
        "The weights of models trained before keep what they learnt in tables whose slots many ids"
        " share; no id or vector stands in them. A new space (a lane trained from scratch) forgets"
        " that too."
    ),
    (
        "What an upstream of another package remembers is not looked into: a vector that it still"
        " makes of an erased entity is dropped before it is written. A new space forgets the rest."
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
class Proof:
    """What an erasure did: hashes of all who were ever erased, the places that were looked at, and
    what is not removed. `path` is where it is kept.
    """

    tombstones: tuple[str, ...]
    places: tuple[Place, ...]
    path: Path

    def as_json(self) -> dict[str, Any]:
        return {
            "tombstones": list(self.tombstones),
            "places": [place.as_json() for place in self.places],
            "verified": True,
            "not_removed": list(NOT_REMOVED),
        }


def erase(workspace: Workspace, entity: str, ids: Sequence[int | str]) -> Proof:
    """Erase entities, and prove it. Killed anywhere after the tombstone is written, the next run
    finishes the work. Raises StoreError.
    """
    known = Tombstones.read(workspace.layout)
    if "" in ids:
        raise StoreError(f"erase: an id is empty; received {list(ids)}. Nothing was erased.")
    # What cannot be read cannot be cleaned: better known before than in the middle.
    for lane, entry in workspace.catalog().mentioned():
        edition = open_edition(workspace.layout.of_lane(lane), entry)
        for name in edition.snapshots:
            edition.part(name).column("row")
    known.with_keys(entity, [key_of(value) for value in ids]).write(workspace.layout)
    proof = finish_erasures(workspace)
    assert proof is not None
    return proof


def finish_erasures(workspace: Workspace) -> Proof | None:
    """Remove every erased entity from every place, if that was begun and not finished. Returns the
    proof, which it writes too. Raises StoreError where something is still found afterwards.
    """
    layout = workspace.layout
    tombstones = Tombstones.read(layout)
    if not tombstones.pending:
        return None
    sweep_leftovers(layout.root)
    places = [*_renewed(workspace, tombstones), *_cleaned(workspace, tombstones)]
    # The old segments, editions, online copies and indexes, which no catalog names any more.
    removed = retire(workspace)
    superseded = "superseded segments, editions, daily snapshots and indexes"
    places.append(Place(superseded, len(removed), len(removed), "files"))
    left = [str(place) for place in _places_with_erased(workspace, tombstones)]
    if left:
        raise StoreError(
            f"erase: still found in {', '.join(left)}. Nothing is lost; run it again, and report"
            " this as a bug if it stays."
        )
    hashes = tuple(sorted(value for _, value in tombstones.hashes))
    path = layout.erasure(len(layout.erasures()) + 1)
    proof = Proof(hashes, tuple(places), path)
    write_json(path, proof.as_json())
    replace(tombstones, pending=False).write(layout)
    return proof


def _renewed(workspace: Workspace, tombstones: Tombstones) -> list[Place]:
    """Every lane's vectors written anew, and one switch: no reader meets the erased after it."""
    catalog, places = workspace.catalog(), list[Place]()
    for lane in lanes_of(workspace.layout, catalog):
        catalog, found = renew_lane(workspace.layout.of_lane(lane), catalog, tombstones)
        places += found
    switch_to(workspace, catalog)
    return places


def _cleaned(workspace: Workspace, tombstones: Tombstones) -> Iterator[Place]:
    """All that is not read through the catalog."""
    layout, schema = workspace.layout, workspace.schema
    keys = {entity: entity for entity in schema.entities}
    for lane in lanes_of(layout, workspace.catalog()):
        of_lane = layout.of_lane(lane)
        yield clean_dailies(of_lane, tombstones)
        for kind, paths in of_lane.scores().items():
            yield clean_tables(kind, paths, tombstones, keys, as_keys=True)
        written = of_lane.page_files()
        place = "the report and its tables and plots (write it again with `headwater report`)"
        yield Place(place, len(written), len(written), "files")
        for path in written:
            path.unlink()
    for log in schema.logs.values():
        refused = layout.refused_rows(log.name)
        columns = {column: entity for entity, column in log.entities.items()}
        yield clean_tables(f"quarantine/{log.name}", refused, tombstones, columns)
        remove_stale_parts(layout.lake_parts(log.name), columns)
        parts = layout.lake_parts(log.name)
        yield clean_tables(f"lake/{log.name}", parts, tombstones, columns)
    yield from _undeclared_logs(layout, schema)
    yield _emptied("backtests", layout.backtests, "*")
    yield _emptied("encoded days", layout.cache, "*/*/*")


def _undeclared_logs(layout: Layout, schema: Schema) -> Iterator[Place]:
    """What is left of logs that are no longer declared: whose ids it holds cannot be told."""
    for kept in (layout.lake, layout.quarantine):
        for folder in sorted(kept.glob("*")):
            if folder.name not in schema.logs:
                yield _emptied(f"{kept.name}/{folder.name}, no longer declared", folder, "**/*")


def _emptied(place: str, folder: Path, counted: str) -> Place:
    """A folder of what can be made again goes as a whole."""
    files = len(list(folder.glob(counted)))
    shutil.rmtree(folder, ignore_errors=True)
    return Place(place, files, files, "files")


def _places_with_erased(workspace: Workspace, tombstones: Tombstones) -> Iterator[Path]:
    """Whatever still holds a key of the erased, or an online copy or an index of what is gone: the
    check after the work.
    """
    layout, schema, catalog = workspace.layout, workspace.schema, workspace.catalog()
    for log in schema.logs.values():
        columns = {column: entity for entity, column in log.entities.items()}
        for path in (*layout.refused_rows(log.name), *layout.lake_parts(log.name)):
            if holds_erased(path, tombstones, columns):
                yield path
    for lane in lanes_of(layout, catalog):
        of_lane = layout.of_lane(lane)
        yield from of_lane.page_files()
        yield from _scores_with_erased(workspace, of_lane, tombstones)
        yield from _vectors_with_erased(workspace.config, of_lane, catalog, tombstones)


def _scores_with_erased(
    workspace: Workspace, layout: Layout, tombstones: Tombstones
) -> Iterator[Path]:
    keys = {entity: entity for entity in workspace.schema.entities}
    for paths in layout.scores().values():
        yield from (path for path in paths if holds_erased(path, tombstones, keys, as_keys=True))


def _vectors_with_erased(
    config: FactoryConfig, layout: Layout, catalog: Catalog, tombstones: Tombstones
) -> Iterator[Path]:
    named = {f"{folder.parent.name}-{folder.name}-" for folder in layout.segments()}
    declared = online_folder(config.store.online, layout)
    yield from (path for path in layout.online_stores() if path != declared)
    online = online_of(config, layout)
    for copy in sorted(online.names()) if online is not None else ():
        if not any(copy.startswith(name) for name in named):
            yield declared / copy
    segments = [(folder.parent.name, folder) for folder in layout.segments()]
    segments += [(folder.name, folder) for folder in layout.daily_segments()]
    for name, folder in segments:
        keys = np.asarray(Segment.open(folder).keys)
        if tombstones.matches(entity_of(name), keys).any():
            yield folder
    for lane, entry in catalog.mentioned():
        if lane == layout.lane:
            edition = open_edition(layout, entry)
            for name in edition.snapshots:
                keys = np.asarray(edition.part(name).keys)
                if tombstones.matches(entity_of(name), keys).any():
                    yield edition.folder / name
