"""The state of a warehouse at a glance."""

from __future__ import annotations

from headwater.blobs import MAIN, Layout
from headwater.embeddings import Space
from headwater.errors import StoreError
from headwater.serving.answers import EditionStatus, Status
from headwater.store import Catalog, Entry, Live
from headwater.store.reports import read_copy
from headwater.workspace import Workspace, open_edition


def status_of(workspace: Workspace) -> Status:
    """Days done in every lane, editions with their digests and spaces, the live one, pins, coverage
    and freshness. Raises StoreError.
    """
    while True:
        catalog = workspace.catalog()
        try:
            return _status(workspace, catalog)
        except StoreError:
            # An edition may have been retired while it was being listed.
            if workspace.catalog() == catalog:
                raise


def _status(workspace: Workspace, catalog: Catalog) -> Status:
    live = catalog.live
    lane = live.lane if live else MAIN
    days = tuple(entry.day for entry in catalog.lane(lane).days)
    editions = [
        _edition(workspace.layout.of_lane(name), catalog, entry)
        for name, chain in catalog.lanes.items()
        for entry in chain.days
    ]
    withdrawn = {
        name: [entry.day for entry in chain.withdrawn]
        for name, chain in catalog.lanes.items()
        if chain.withdrawn
    }
    return Status(
        factory=workspace.config.name,
        warehouse=str(workspace.layout.root),
        days=days,
        live=live.entry.day if live else None,
        live_lane=live.lane if live else None,
        days_behind=(days[-1] - live.entry.day).days if days and live else None,
        editions=tuple(editions),
        withdrawn=withdrawn,
    )


def _edition(layout: Layout, catalog: Catalog, entry: Entry) -> EditionStatus:
    here = Live(layout.lane, entry)
    report = read_copy(layout, entry.day)
    snapshots = {} if entry.folder is None else open_edition(layout, entry).snapshots
    return EditionStatus(
        day=entry.day,
        lane=layout.lane,
        digest=entry.digest,
        live=catalog.live == here,
        forced=entry.forced,
        pinned_by=tuple(name for name, pin in catalog.pins.items() if pin == here),
        coverage={} if report is None else report.coverage,
        rows={name: found["rows"] for name, found in snapshots.items()},
        spaces={name: str(Space.from_json(found["space"])) for name, found in snapshots.items()},
        segments={name: len(found["segments"]) for name, found in snapshots.items()},
    )
