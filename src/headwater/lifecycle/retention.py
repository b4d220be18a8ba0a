"""Growing old: deltas are compacted, editions leave the point-in-time window, and what no catalog
names is removed.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from headwater.blobs import MAIN, Layout
from headwater.files import remove_folder
from headwater.lifecycle.serve import (
    forget_other_stores,
    indexes_of,
    is_served,
    online_of,
    serve,
)
from headwater.lifecycle.switch import followed_by
from headwater.store import Catalog, Edition, Entry
from headwater.store.online import copies_of
from headwater.store.rewrite import compact
from headwater.workspace import Workspace, open_edition

# Rankers are kept for one day in seven, and two days lie between what is served and what is learnt
# from it.
MARGIN_DAYS = 8


def compact_where_due(
    workspace: Workspace, lane: str, day: dt.date | None = None, always: bool = False
) -> list[str]:
    """Rewrite the edition of `day` (default: the newest) of a lane if its snapshots are spread over
    too many deltas; returns which.
    """
    catalog, store = workspace.catalog(), workspace.config.store
    days = catalog.lane(lane).days
    entry = days[-1] if day is None and days else None
    if day is not None:
        entry = catalog.lane(lane).get(day)
    if entry is None or entry.folder is None:
        return []
    layout = workspace.layout.of_lane(lane)
    edition = open_edition(layout, entry)
    most = 1 if always else store.compact_after
    spread = [name for name, found in edition.snapshots.items() if len(found["segments"]) > most]
    if spread:
        made = compact(layout, edition, store.bucket_rows)
        if is_served(workspace.config, edition):
            serve(workspace.config, made)
        moved = replace(entry, folder=layout.key(made.folder))
        workspace.catalogs.write(catalog.renewed({entry.folder: moved}, lane))
    return spread


def retire(workspace: Workspace) -> list[str]:
    """Drop editions outside the point-in-time window that are neither live nor pinned, then remove
    all that no catalog names.

    The window is wider than `keep_days` by what the oldest day in it needs to be run again: what
    was served to rows whose labels mature then, and the days since a kept checkpoint of rankers.
    Returns the folders removed. Interrupted anywhere, the next call goes on.
    """
    before = catalog = workspace.catalog()
    lifecycle, tasks = workspace.config.lifecycle, workspace.config.tasks
    matures = max((task.matures_days for task in tasks.values()), default=0)
    window = lifecycle.keep_days + matures + lifecycle.lag_days + MARGIN_DAYS
    for lane, chain in catalog.lanes.items():
        if chain.days:
            catalog = catalog.renewed(dict.fromkeys(_outside(catalog, lane, window)), lane)
    if catalog != before:
        workspace.catalogs.write(catalog)
    removed = (
        path
        for lane in lanes_of(workspace.layout, catalog)
        for path in _collect(workspace, catalog, lane)
    )
    return [str(path) for path in removed]


def lanes_of(layout: Layout, catalog: Catalog) -> list[str]:
    """Every lane that has left anything behind, published or not, `main` first."""
    return list(dict.fromkeys([MAIN, *catalog.lanes, *layout.lanes_on_disk()]))


def _outside(catalog: Catalog, lane: str, keep_days: int) -> Iterable[str]:
    chain = catalog.lane(lane)
    first = chain.days[-1].day - dt.timedelta(days=keep_days - 1)
    # What was served when the window opens.
    first = max((entry.day for entry in chain.days if entry.day <= first), default=first)
    followed = {kept.entry.digest for kept in followed_by(catalog) if kept.lane == lane}
    for entry in (*chain.days, *chain.withdrawn):
        if entry.folder is not None and entry.day < first and entry.digest not in followed:
            yield entry.folder


def _collect(workspace: Workspace, catalog: Catalog, lane: str) -> list[Path]:
    """Remove from a lane's home what is not reachable from the catalog."""
    layout = workspace.layout.of_lane(lane)
    entries = [entry for owner, entry in catalog.mentioned() if owner == lane]
    editions = {entry: open_edition(layout, entry) for entry in entries}
    removed = _remove(_old_refusals(workspace, catalog, layout), set())
    removed += _remove(layout.editions(), {edition.folder for edition in editions.values()})
    refused = [Edition.load(folder) for folder in layout.refusals()]
    segments = {
        layout.segment(name, segment)
        for edition in (*editions.values(), *refused)
        for name, found in edition.snapshots.items()
        for segment in found["segments"]
    }
    removed += _remove(layout.segments(), segments)
    named = (folder for edition in editions.values() for folder in edition.daily.values())
    removed += _remove(layout.dailies(), {layout.home / folder for folder in named})
    removed += _remove(layout.checkpoints(), _checkpoints(workspace, catalog))
    return removed + _forget_copies(workspace, catalog, layout, editions)


def _old_refusals(workspace: Workspace, catalog: Catalog, layout: Layout) -> list[Path]:
    days = catalog.lane(layout.lane).days
    if not days:
        return []
    first = days[-1].day - dt.timedelta(days=workspace.config.lifecycle.keep_days)
    found = layout.refusals()
    return [path for path in found if dt.date.fromisoformat(path.parent.name) < first]


def _checkpoints(workspace: Workspace, catalog: Catalog) -> set[Path]:
    """The upstream checkpoints that editions of any lane name."""
    layout = workspace.layout
    return {
        layout.root / folder
        for lane, entry in catalog.mentioned()
        for folder in open_edition(layout.of_lane(lane), entry).models.values()
    }


def _forget_copies(
    workspace: Workspace, catalog: Catalog, layout: Layout, editions: dict[Entry, Edition]
) -> list[Path]:
    """Online copies and indexes of all but what readers follow, may still be reading (the day
    before), or will follow next.
    """
    followed = [kept.entry for kept in followed_by(catalog) if kept.lane == layout.lane]
    newest = [entry for entry in catalog.lane(layout.lane).days if entry in editions][-2:]
    kept = [editions[entry] for entry in dict.fromkeys((*followed, *newest))]
    online = online_of(workspace.config, layout)
    forget_other_stores(workspace.config, layout)
    if online is not None:
        copies = {
            copy
            for edition in kept
            for name in edition.snapshots
            for copy in copies_of(edition, name)
        }
        online.keep(copies)
    indexes = set[Path]()
    for edition in kept:
        indexes |= indexes_of(workspace.config, edition, list(edition.snapshots))
    return _remove(layout.indexes.glob("*-*"), indexes)


def _remove(found: Iterable[Path], kept: set[Path]) -> list[Path]:
    gone = [path for path in found if path.is_dir() and path not in kept]
    for path in gone:
        remove_folder(path)
        if path.parent.name[:4].isdigit() and not any(path.parent.iterdir()):
            path.parent.rmdir()
    return gone
