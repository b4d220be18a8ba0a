"""The switch: first all that an edition needs is made ready, then the catalog is replaced, then
what people read is brought in line.

A run that is killed before the replacement has changed nothing; one that is killed after it is
finished by the next.
"""

from __future__ import annotations

import datetime as dt
import functools
import json
from pathlib import Path
from typing import Any

from headwater.config import FactoryConfig
from headwater.errors import StoreError
from headwater.files import read_json, remove_folder, write_json
from headwater.index import index_folder, open_index
from headwater.plugins import resolve
from headwater.store import (
    ONLINE_STORES,
    Catalog,
    Edition,
    OnlineStore,
    load_edition,
    read_catalog,
    write_catalog,
)
from headwater.store.catalog import Entry, home_of
from headwater.store.online import copies_of

REPORT = "report.json"


def online_of(config: FactoryConfig, home: Path) -> OnlineStore | None:
    kind = config.store.online
    return (
        None
        if kind == "none"
        else resolve("headwater.online", ONLINE_STORES, kind)(home / "online")
    )


def edition_of(warehouse: Path, lane: str, entry: Entry) -> Edition:
    """Raises StoreError where its files are gone."""
    if entry.folder is None:
        raise StoreError(
            f"the edition of {entry.day} was removed by retention; lifecycle.keep_days says how"
            " long they are kept."
        )
    return Edition.load(home_of(warehouse, lane) / entry.folder)


def serve(config: FactoryConfig, edition: Edition) -> None:
    """Fill the online store and the item indexes with an edition; a second time is a no-op."""
    for name, entry in edition.snapshots.items():
        if entry["entity"] == "item":
            part = edition.part(name)
            open_index(
                edition.home / "indexes",
                edition.index_name(name),
                part.space,
                part.rows,
                functools.partial(edition.points, name),
                config.index.kind,
            )
    online = online_of(config, edition.home)
    if online is not None:
        load_edition(online, edition)


def is_served(config: FactoryConfig, edition: Edition) -> bool:
    """Whether the online store and the indexes hold all of an edition."""
    items = [
        edition.index_name(name)
        for name, entry in edition.snapshots.items()
        if entry["entity"] == "item"
    ]
    if not all(
        (index_folder(edition.home / "indexes", item, config.index.kind) / "index.faiss").is_file()
        for item in items
    ):
        return False
    online = online_of(config, edition.home)
    return online is None or all(
        online.holds(copy) for name in edition.snapshots for copy in copies_of(edition, name)
    )


def switch_to(warehouse: Path, config: FactoryConfig, catalog: Catalog) -> Catalog:
    """Make `catalog` the truth: what it sets live or pinned is served first, then it is written, in
    one step.
    """
    for followed in {*catalog.pins.values(), *([catalog.live] if catalog.live else [])}:
        edition = edition_of(warehouse, followed.lane, followed.entry)
        if not is_served(config, edition):
            serve(config, edition)
    if catalog != read_catalog(warehouse):
        write_catalog(warehouse, catalog)
    mirror_reports(warehouse, catalog)
    return catalog


def promote(warehouse: Path, config: FactoryConfig, lane: str, day: dt.date) -> Catalog:
    """See Catalog.promoted."""
    return switch_to(warehouse, config, read_catalog(warehouse).promoted(lane, day))


def rollback(warehouse: Path, config: FactoryConfig, to: dt.date | None) -> Catalog:
    """See Catalog.rolled_back. Gives up an unfinished replay of later days. Raises StoreError where
    it would keep days still to be replayed.
    """
    catalog = read_catalog(warehouse)
    made = catalog.rolled_back(to)
    assert made.live is not None
    pending = home_of(warehouse, made.live.lane) / "replay.json"
    if pending.is_file():
        left = [dt.date.fromisoformat(day) for day in read_json(pending)]
        if left[0] <= made.live.entry.day:
            raise StoreError(
                f"rollback: a replay from {left[0]} on was not finished; go back to a day before"
                " that, or finish it with `headwater run`."
            )
    made = switch_to(warehouse, config, made)
    pending.unlink(missing_ok=True)  # killed before this, the next run sees that its days are gone
    return made


def pin(warehouse: Path, config: FactoryConfig, consumer: str, lane: str, day: dt.date) -> Catalog:
    """See Catalog.pinned."""
    return switch_to(warehouse, config, read_catalog(warehouse).pinned(consumer, lane, day))


def unpin(warehouse: Path, config: FactoryConfig, consumer: str) -> Catalog:
    """See Catalog.unpinned."""
    return switch_to(warehouse, config, read_catalog(warehouse).unpinned(consumer))


def mirror_reports(warehouse: Path, catalog: Catalog) -> None:
    """`reports/DAY.json` and `monitors/DAY.json` for people: of the days that the catalog has, and
    no others.
    """
    for name, lane in catalog.lanes.items():
        home = home_of(warehouse, name)
        days = {str(entry.day): entry for entry in lane.days}
        for kind in ("reports", "monitors"):
            for path in (home / kind).glob("????-??-??.json"):
                if path.stem not in days:
                    path.unlink()
        for day, entry in days.items():
            if entry.folder is not None and (report := home / entry.folder / REPORT).is_file():
                for kind, wanted in (("reports", lambda found: found), ("monitors", _monitor)):
                    _mirror(home / kind / f"{day}.json", wanted(read_json(report)))


def _monitor(report: dict[str, Any]) -> dict[str, Any]:
    return {name: report[name] for name in ("day", "edition", "forced", "coverage", "snapshots")}


def _mirror(path: Path, value: Any) -> None:
    try:
        same = path.is_file() and json.loads(path.read_text()) == value
    except ValueError:  # damaged: it is only a copy
        same = False
    if not same:
        write_json(path, value)


def rankers_of(day: dt.date, aligned: bool) -> str:
    """The folder of a day's rankers; those that an aligned lane took over lie aside until the
    catalog says that it is aligned.
    """
    return f"{day}-aligned" if aligned else str(day)


def forget_rankers(home: Path, kept: set[dt.date]) -> None:
    """Remove the checkpoints of rankers of other days; they are made again when a replay or a
    rollback needs them.
    """
    names = {str(day) for day in kept}
    for folder in (home / "models" / "downstream").glob("*/????-??-??"):
        if folder.name not in names:
            remove_folder(folder)
