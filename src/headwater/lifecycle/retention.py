"""Growing old: deltas are compacted, editions leave the point-in-time window, and what no catalog
names is removed.
"""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from headwater.config import FactoryConfig
from headwater.files import read_json, remove_folder
from headwater.index import index_folder
from headwater.lifecycle.switch import edition_of, is_served, online_of, serve
from headwater.store import MAIN, Catalog, EditionStore, Entry, read_catalog, write_catalog
from headwater.store.catalog import home_of
from headwater.store.editions import MANIFEST, Edition
from headwater.store.online import copies_of

# rankers are kept for one day in seven, and two days lie between what is served and what is learnt
# from it
MARGIN_DAYS = 8


def compact_where_due(
    warehouse: Path,
    config: FactoryConfig,
    lane: str,
    day: dt.date | None = None,
    always: bool = False,
) -> list[str]:
    """Rewrite the edition of `day` (default: the newest) of a lane if its snapshots are spread over
    too many deltas; returns which.
    """
    catalog = read_catalog(warehouse)
    days = catalog.lane(lane).days
    entry = catalog.lane(lane).get(day) if day is not None else days[-1] if days else None
    if entry is None:
        return []
    most = 1 if always else config.store.compact_after
    edition = edition_of(warehouse, lane, entry)
    spread = [name for name, found in edition.snapshots.items() if len(found["segments"]) > most]
    if spread:
        made = EditionStore(edition.home).compact(edition, config.store.bucket_rows)
        if is_served(config, edition):
            serve(config, made)
        assert entry.folder is not None
        write_catalog(
            warehouse,
            catalog.renewed(
                {entry.folder: replace(entry, folder=str(made.folder.relative_to(edition.home)))},
                lane,
            ),
        )
    return spread


def retire(warehouse: Path, config: FactoryConfig) -> list[str]:
    """Drop editions outside the point-in-time window that are neither live nor pinned, then remove
    all that no catalog names.

    The window is wider than `keep_days` by what the oldest day in it needs to be run again: what
    was served to rows whose labels mature then, and the days since a kept checkpoint of rankers.
    Returns the folders removed. Interrupted anywhere, the next call goes on.
    """
    catalog = read_catalog(warehouse)
    matures = max((task.matures_days for task in config.tasks.values()), default=0)
    window = config.lifecycle.keep_days + matures + config.lifecycle.lag_days + MARGIN_DAYS
    for lane, chain in catalog.lanes.items():
        if chain.days:
            catalog = catalog.renewed(dict.fromkeys(_outside(catalog, lane, window)), lane)
    if catalog != read_catalog(warehouse):
        write_catalog(warehouse, catalog)
    return [str(folder) for folder in _collect(warehouse, config, catalog)]


def _outside(catalog: Catalog, lane: str, keep_days: int) -> Iterable[str]:
    chain = catalog.lane(lane)
    first = chain.days[-1].day - dt.timedelta(days=keep_days - 1)
    first = max(
        (entry.day for entry in chain.days if entry.day <= first), default=first
    )  # what was served when the window opens
    followed = {
        kept.entry.digest
        for kept in (*catalog.pins.values(), *([catalog.live] if catalog.live else []))
        if kept.lane == lane
    }
    for entry in (*chain.days, *chain.withdrawn):
        if entry.folder is not None and entry.day < first and entry.digest not in followed:
            yield entry.folder


def _collect(warehouse: Path, config: FactoryConfig, catalog: Catalog) -> list[Path]:
    """Remove, home by home, what is not reachable from the catalog."""
    removed: list[Path] = []
    models = {
        warehouse / folder
        for lane, entry in catalog.mentioned()
        for folder in edition_of(warehouse, lane, entry).models.values()
    }
    for lane in lanes_on_disk(warehouse, catalog):
        home = home_of(warehouse, lane)
        old = (
            catalog.lane(lane).days[-1].day - dt.timedelta(days=config.lifecycle.keep_days)
            if catalog.lane(lane).days
            else dt.date.min
        )
        removed += _remove(
            (
                path
                for path in (home / "refused").glob("????-??-??/*")
                if dt.date.fromisoformat(path.parent.name) < old
            ),
            set(),
        )
        entries = [entry for owner, entry in catalog.mentioned() if owner == lane]
        kept = {home / str(entry.folder) for entry in entries}
        refused = [path.parent for path in (home / "refused").glob(f"*/*/{MANIFEST}")]
        editions = [Edition.load(folder) for folder in sorted(kept)]
        removed += _remove((home / "editions").glob("*/*"), kept)
        segments = {
            home / "segments" / name / segment
            for edition in (*editions, *map(Edition.load, refused))
            for name, found in edition.snapshots.items()
            for segment in found["segments"]
        }
        removed += _remove((home / "segments").glob("*/*"), segments)
        named = [read_json(edition.folder / MANIFEST) for edition in editions]
        removed += _remove(
            (home / "daily").glob("*/*"), {home / raw["daily"] for raw in named if raw.get("daily")}
        )
        removed += _remove(
            (
                path
                for path in (home / "models").glob("*/????-??-??/*")
                if path.parts[-3] != "downstream"
            ),
            models,
        )
        removed += _forget_copies(home, config, catalog, lane, entries)
    return removed


def lanes_on_disk(warehouse: Path, catalog: Catalog) -> list[str]:
    """Every lane that has left anything behind, published or not, `main` first."""
    return list(
        dict.fromkeys(
            [
                MAIN,
                *catalog.lanes,
                *(path.name for path in sorted((warehouse / "lanes").glob("*")) if path.is_dir()),
            ]
        )
    )


def _forget_copies(
    home: Path, config: FactoryConfig, catalog: Catalog, lane: str, entries: list[Entry]
) -> list[Path]:
    """Online copies and indexes of all but what readers follow, may still be reading (the day
    before), or will follow next.
    """
    followed = [
        kept.entry
        for kept in (*catalog.pins.values(), *([catalog.live] if catalog.live else []))
        if kept.lane == lane
    ]
    newest = [entry for entry in catalog.lane(lane).days if entry in entries][-2:]
    editions = [
        Edition.load(home / str(entry.folder)) for entry in dict.fromkeys((*followed, *newest))
    ]
    online = online_of(config, home)
    if online is None:
        shutil.rmtree(home / "online", ignore_errors=True)  # of a kind that is no longer declared
    else:
        online.keep(
            {
                copy
                for edition in editions
                for name in edition.snapshots
                for copy in copies_of(edition, name)
            }
        )
    indexes = {
        index_folder(home / "indexes", edition.index_name(name), config.index.kind)
        for edition in editions
        for name in edition.snapshots
    }
    return _remove((home / "indexes").glob("*-*"), indexes)


def _remove(found: Iterable[Path], kept: set[Path]) -> list[Path]:
    gone = [path for path in found if path.is_dir() and path not in kept]
    for path in gone:
        remove_folder(path)
        if path.parent.name[:4].isdigit() and not any(path.parent.iterdir()):
            path.parent.rmdir()
    return gone
