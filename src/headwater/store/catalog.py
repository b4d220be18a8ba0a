"""The catalog: the one thing that says which editions there are, in which lane, and which one
readers follow.

Every change of it is the creation of one numbered file (`CatalogStore`), so whatever a reader may
combine (user vectors, item index, upstream, averages) moves at once or not at all. What no catalog
names does not exist, whatever lies on disk.

A *lane* is a chain of days, each built upon the one before; `main` is the first. A retraining runs
in a lane of its own.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from headwater.blobs import MAIN
from headwater.errors import EditionMissing, StoreError


@dataclass(frozen=True)
class Entry:
    """One published day: the edition's digest and folder (None once retention has removed it), and
    the inputs' fingerprint.

    `erasures` is the digest of the tombstones it was made under, `forced` the gates that were
    overruled, `aligned` the digest of the rotations that turned it into another lane's space.
    """

    day: dt.date
    digest: str
    folder: str | None
    fingerprint: str
    erasures: str = ""
    forced: tuple[str, ...] = ()
    aligned: str = ""

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Entry:
        return cls(
            dt.date.fromisoformat(raw["day"]),
            raw["digest"],
            raw["folder"],
            raw["fingerprint"],
            raw.get("erasures", ""),
            tuple(raw.get("forced", ())),
            raw.get("aligned", ""),
        )

    def as_json(self) -> dict[str, Any]:
        optional = {"erasures": self.erasures, "forced": list(self.forced), "aligned": self.aligned}
        return {
            "day": str(self.day),
            "digest": self.digest,
            "folder": self.folder,
            "fingerprint": self.fingerprint,
        } | {k: v for k, v in optional.items() if v}


@dataclass(frozen=True)
class Lane:
    """`days`, oldest first, each built upon the one before; `withdrawn` ones were rolled back, the
    next to promote again first.
    """

    days: tuple[Entry, ...] = ()
    withdrawn: tuple[Entry, ...] = ()

    def get(self, day: dt.date) -> Entry | None:
        return next((entry for entry in self.days if entry.day == day), None)

    @property
    def readable(self) -> tuple[Entry, ...]:
        """The days that live in the lane's space of today: before it was turned into another, it
        lived in one that nobody reads any more.
        """
        turned = max((entry.day for entry in self.days if entry.aligned), default=dt.date.min)
        return tuple(entry for entry in self.days if entry.day >= turned)

    def as_of(self, day: dt.date) -> Entry | None:
        """What a reader follows at the end of `day`: the newest edition no later than that, or
        none.
        """
        return next((entry for entry in reversed(self.readable) if entry.day <= day), None)


@dataclass(frozen=True)
class Live:
    """What readers follow."""

    lane: str
    entry: Entry


@dataclass(frozen=True)
class Catalog:
    """A value: each change returns another catalog."""

    lanes: Mapping[str, Lane] = field(default_factory=lambda: MappingProxyType({}))
    live: Live | None = None
    pins: Mapping[str, Live] = field(default_factory=lambda: MappingProxyType({}))
    number: int = field(default=0, compare=False)  # under which it was read

    def lane(self, name: str) -> Lane:
        return self.lanes.get(name, Lane())

    def with_lane(self, name: str, lane: Lane) -> Catalog:
        return replace(self, lanes=MappingProxyType({**self.lanes, name: lane}))

    # ---- what may happen to it -------------------------------------------------------------------

    def published(self, lane: str, entry: Entry, go_live: bool) -> Catalog:
        """`entry` joins its lane: after the last day, or in place of the same day, whose later days
        it leaves as they are (a replay renews them one by one). It goes live if asked, and also
        where it replaces the live entry of its day.
        """
        chain = self.lane(lane)
        known = chain.get(entry.day)
        if known is None:
            if chain.days and chain.days[-1].day > entry.day:
                raise StoreError(
                    f"catalog: {entry.day} may not join the lane {lane!r}, which has"
                    f" {chain.days[-1].day}; averages remember."
                )
            days = (*chain.days, entry)
        else:
            days = tuple(entry if old.day == entry.day else old for old in chain.days)
        same = known is not None and known.digest == entry.digest
        made = self.with_lane(
            lane, Lane(days, chain.withdrawn if same else ())
        )  # what was built upon another edition cannot come back
        was_live = (
            self.live is not None and self.live.lane == lane and self.live.entry.day == entry.day
        )
        return replace(made, live=Live(lane, entry)) if go_live or was_live else made

    def slipped_in(self, lane: str, entry: Entry) -> Catalog:
        """`entry`, of a day that was missed, takes its place among the days of its lane (a replay
        renews the later ones).
        """
        chain = self.lane(lane)
        days = tuple(
            sorted(
                (*(old for old in chain.days if old.day != entry.day), entry),
                key=lambda known: known.day,
            )
        )
        return self.with_lane(lane, Lane(days, ()))

    def promoted(self, lane: str, day: dt.date) -> Catalog:
        """Readers follow `day` of a lane. A day that was rolled back comes back into its lane, if
        it is the next one.

        Raises EditionMissing; StoreError for a day before the live one (that is a rollback) or one
        out of order.
        """
        chain = self.lane(lane)
        entry = chain.get(day)
        if entry is not None:
            if self.live is not None and self.live.lane == lane and day < self.live.entry.day:
                raise StoreError(
                    f"promote {day}: the lane {lane!r} is live at {self.live.entry.day} already."
                    f" `headwater rollback --to {day}` goes back."
                )
            return replace(self, live=Live(lane, _there(entry)))
        if chain.withdrawn and chain.withdrawn[0].day == day:
            entry = _there(chain.withdrawn[0])
            return replace(
                self.with_lane(lane, Lane((*chain.days, entry), chain.withdrawn[1:])),
                live=Live(lane, entry),
            )
        if day in [old.day for old in chain.withdrawn]:
            raise StoreError(
                f"promote {day}: {chain.withdrawn[0].day} was rolled back too and comes first, for"
                f" {day} was built upon it."
            )
        raise EditionMissing(
            f"no edition of {day} in the lane {lane!r}; it has {_listed(chain)}. `headwater run"
            f" --day {day}` makes one."
        )

    def rolled_back(self, to: dt.date | None = None) -> Catalog:
        """Readers and averages go back together: the live lane ends at `to` (default: the day
        before the live one), which is live.

        Raises EditionMissing where there is no such day, or retention has removed it.
        """
        if self.live is None:
            raise EditionMissing("rollback: nothing is live yet.")
        lane, chain = self.live.lane, self.lane(self.live.lane)
        earlier = [entry for entry in chain.days if entry.day < self.live.entry.day]
        if to is None:
            if not earlier:
                raise EditionMissing(
                    f"rollback: {self.live.entry.day} is the first day of the lane {lane!r}; there"
                    " is none before it."
                )
            to = earlier[-1].day
        kept = tuple(entry for entry in chain.days if entry.day <= to)
        if not kept or kept[-1].day != to or to > self.live.entry.day:
            raise EditionMissing(
                f"rollback to {to}: the lane {lane!r} has {_listed(chain)}, {self.live.entry.day}"
                " is live; choose a day no later than that."
            )
        taken = tuple(entry for entry in chain.days if entry.day > to)
        turned = [entry.day for entry in taken if entry.aligned]
        if turned:
            raise StoreError(
                f"rollback to {to}: the lane {lane!r} was turned into another lane's space on"
                f" {turned[-1]}; before that, readers would meet a space they do not know."
                f" `headwater promote DAY --lane {MAIN}` goes back to the other lane."
            )
        return replace(
            self.with_lane(lane, Lane(kept, (*taken, *chain.withdrawn))),
            live=Live(lane, _there(kept[-1])),
        )

    def pinned(self, consumer: str, lane: str, day: dt.date) -> Catalog:
        entry = self.lane(lane).get(day)
        if entry is None:
            raise EditionMissing(
                f"pin: no edition of {day} in the lane {lane!r}; it has {_listed(self.lane(lane))}."
            )
        return replace(
            self, pins=MappingProxyType({**self.pins, consumer: Live(lane, _there(entry))})
        )

    def unpinned(self, consumer: str) -> Catalog:
        if consumer not in self.pins:
            raise StoreError(
                f"unpin: no consumer {consumer!r} has a pin; pinned are:"
                f" {', '.join(self.pins) or 'none'}."
            )
        return replace(
            self,
            pins=MappingProxyType(
                {name: pin for name, pin in self.pins.items() if name != consumer}
            ),
        )

    def renewed(self, changes: Mapping[str, Entry | None], lane: str) -> Catalog:
        """Every mention of a lane's editions whose folder is a key of `changes` replaced, wherever
        it stands; None: the folder is gone.
        """

        def renew(entry: Entry) -> Entry:
            if entry.folder is None or entry.folder not in changes:
                return entry
            other = changes[entry.folder]
            return (
                replace(entry, folder=None)
                if other is None
                else replace(other, fingerprint=entry.fingerprint, forced=entry.forced)
            )

        def follow(live: Live) -> Live:
            return Live(lane, renew(live.entry)) if live.lane == lane else live

        chain = self.lane(lane)
        made = self.with_lane(
            lane, Lane(tuple(map(renew, chain.days)), tuple(map(renew, chain.withdrawn)))
        )
        return replace(
            made,
            live=follow(self.live) if self.live else None,
            pins=MappingProxyType({name: follow(pin) for name, pin in self.pins.items()}),
        )

    def mentioned(self) -> list[tuple[str, Entry]]:
        """Every entry whose edition must stay readable, with its lane."""
        found = [
            (name, entry)
            for name, lane in self.lanes.items()
            for entry in (*lane.days, *lane.withdrawn)
        ]
        found += [
            (kept.lane, kept.entry)
            for kept in (*self.pins.values(), *([self.live] if self.live else []))
        ]
        return [(lane, entry) for lane, entry in dict.fromkeys(found) if entry.folder is not None]

    # ---- as JSON ---------------------------------------------------------------------------------

    def as_json(self) -> dict[str, Any]:
        def reference(live: Live) -> dict[str, Any]:
            return {"lane": live.lane, "entry": live.entry.as_json()}

        return {
            "lanes": {
                name: {
                    "days": [entry.as_json() for entry in lane.days],
                    "withdrawn": [entry.as_json() for entry in lane.withdrawn],
                }
                for name, lane in self.lanes.items()
            },
            "live": reference(self.live) if self.live else None,
            "pins": {name: reference(pin) for name, pin in self.pins.items()},
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Catalog:
        def reference(value: Mapping[str, Any]) -> Live:
            return Live(value["lane"], Entry.from_json(value["entry"]))

        lanes = {
            name: Lane(
                tuple(map(Entry.from_json, lane["days"])),
                tuple(map(Entry.from_json, lane["withdrawn"])),
            )
            for name, lane in raw["lanes"].items()
        }
        return cls(
            MappingProxyType(lanes),
            reference(raw["live"]) if raw["live"] else None,
            MappingProxyType({name: reference(pin) for name, pin in raw["pins"].items()}),
        )


def _there(entry: Entry) -> Entry:
    if entry.folder is None:
        raise EditionMissing(
            f"the edition of {entry.day} was removed by retention; lifecycle.keep_days says how"
            " long they are kept."
        )
    return entry


def _listed(lane: Lane) -> str:
    return (
        f"{len(lane.days)}, {lane.days[0].day} to {lane.days[-1].day}" if lane.days else "none yet"
    )
