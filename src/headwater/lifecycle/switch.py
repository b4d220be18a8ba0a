"""The switch: first all that an edition needs is made ready, then the catalog goes on to its next
number, then what people read is brought in line.

A run that is killed before the catalog is written has changed nothing; one that is killed after it
is finished by the next.
"""

from __future__ import annotations

import datetime as dt

from headwater.errors import StoreError
from headwater.files import read_json, remove_file, write_json
from headwater.lifecycle.serve import is_served, serve
from headwater.store import Catalog, Entry, Live
from headwater.store.reports import read_report, remove_copies, write_copies
from headwater.workspace import Workspace, open_edition


def followed_by(catalog: Catalog) -> list[Live]:
    """What readers follow: the pins, and what is live."""
    return [*catalog.pins.values(), *([catalog.live] if catalog.live else [])]


def switch_to(workspace: Workspace, catalog: Catalog) -> Catalog:
    """Make `catalog`, a change of the one that was read, the truth: what it sets live or pinned is
    served first, then it is written, in one step. Raises StoreError where another writer has
    changed it meanwhile.
    """
    for followed in dict.fromkeys(followed_by(catalog)):
        edition = open_edition(workspace.layout.of_lane(followed.lane), followed.entry)
        if not is_served(workspace.config, edition):
            serve(workspace.config, edition)
    before = workspace.catalog()
    made = catalog if catalog == before else workspace.catalogs.write(catalog)
    mirror_reports(workspace, before, made)
    return made


def promote(workspace: Workspace, lane: str, day: dt.date) -> Catalog:
    """See Catalog.promoted."""
    return switch_to(workspace, workspace.catalog().promoted(lane, day))


def rollback(workspace: Workspace, to: dt.date | None) -> Catalog:
    """See Catalog.rolled_back. Gives up an unfinished replay of later days. Raises StoreError where
    it would keep days still to be replayed.
    """
    made = workspace.catalog().rolled_back(to)
    assert made.live is not None
    pending = workspace.layout.of_lane(made.live.lane).replay
    if pending.is_file():
        left = [dt.date.fromisoformat(day) for day in read_json(pending)]
        if left[0] <= made.live.entry.day:
            raise StoreError(
                f"rollback: a replay from {left[0]} on was not finished; go back to a day before"
                " that, or finish it with `headwater run`."
            )
    made = switch_to(workspace, made)
    # Killed before this, the next run sees that its days are gone.
    remove_file(pending)
    return made


def pin(workspace: Workspace, consumer: str, lane: str, day: dt.date) -> Catalog:
    """See Catalog.pinned."""
    return switch_to(workspace, workspace.catalog().pinned(consumer, lane, day))


def unpin(workspace: Workspace, consumer: str) -> Catalog:
    """See Catalog.unpinned."""
    return switch_to(workspace, workspace.catalog().unpinned(consumer))


def mirror_reports(workspace: Workspace, before: Catalog, after: Catalog) -> None:
    """`reports/DAY.json` and `monitors/DAY.json` for people: of the days that the catalog has, and
    no others. Only the days that changed are looked at, and each lane's newest; but all of them
    where a killed run left the copies of an older catalog.
    """
    mark = workspace.layout.mirrored
    known = read_json(mark) if mark.is_file() else None
    for name, lane in after.lanes.items():
        layout = workspace.layout.of_lane(name)
        had: dict[dt.date, Entry | None] = {entry.day: entry for entry in before.lane(name).days}
        if known != before.number:
            had = dict.fromkeys(layout.reported_days())
        have = {entry.day: entry for entry in lane.days}
        for day in had.keys() - have.keys():
            remove_copies(layout, day)
        newest = lane.days[-1:]
        changed = [entry for entry in lane.days if had.get(entry.day) != entry]
        for entry in dict.fromkeys((*changed, *newest)):
            report = read_report(layout.home / entry.folder) if entry.folder else None
            if report is not None:
                write_copies(layout, report)
    if known != after.number:
        write_json(mark, after.number)
