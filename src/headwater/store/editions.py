"""Editions: all snapshots of one day, published whole or not at all."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from headwater.embeddings import Snapshot, Space
from headwater.errors import EditionConflict, EditionMissing, StoreError
from headwater.files import digest_of, new_folder, read_json, write_json
from headwater.store.buckets import read_snapshot, write_snapshot
from headwater.store.view import EditionView

MANIFEST = "manifest.json"
LIVE = "live.json"


@dataclass(frozen=True)
class Edition:
    """What was published for a day: its digest, the fingerprint of its inputs, and where each snapshot lies."""

    day: dt.date
    digest: str
    fingerprint: str
    policy: Mapping[str, Any]
    buckets: int
    snapshots: Mapping[str, Mapping[str, Any]]
    folder: Path

    @classmethod
    def load(cls, folder: Path) -> Edition:
        raw = read_json(folder / MANIFEST)
        try:
            return cls(dt.date.fromisoformat(raw["day"]), raw["digest"], raw["fingerprint"], MappingProxyType(raw["policy"]),
                       raw["buckets"], MappingProxyType(raw["snapshots"]), folder)  # fmt: skip
        except (KeyError, TypeError, ValueError) as error:
            raise StoreError(f"{folder / MANIFEST}: not an edition's manifest ({error!r}).") from error

    def __reduce__(self) -> tuple[Any, tuple[Path]]:
        return Edition.load, (self.folder,)

    def space(self, name: str) -> Space:
        entry = self._entry(name)
        return Space.from_json(entry["space"])

    def read(self, name: str) -> Snapshot:
        """The whole snapshot `name`, such as `ctr_user`, in memory."""
        entry = self._entry(name)
        return read_snapshot(self.folder / name, self.space(name), entry["entity"], self.day, self.buckets)

    def _entry(self, name: str) -> Mapping[str, Any]:
        if name not in self.snapshots:
            raise StoreError(f"edition {self.day} holds no snapshot {name!r}; it holds {', '.join(self.snapshots)}.")
        return self.snapshots[name]


class EditionStore:
    """The editions of a warehouse. A pointer file names the live one; readers follow it."""

    def __init__(self, warehouse: Path) -> None:
        self.root = warehouse / "editions"
        self._pointer = warehouse / LIVE

    def days(self) -> list[dt.date]:
        """Days published, oldest first."""
        if not self.root.is_dir():
            return []
        return sorted(dt.date.fromisoformat(path.parent.name) for path in self.root.glob(f"????-??-??/{MANIFEST}"))

    def get(self, day: dt.date) -> Edition:
        """Raises EditionMissing."""
        if not (self.root / str(day) / MANIFEST).is_file():
            days = self.days()
            have = f"There are {len(days)}, {days[0]} to {days[-1]}." if days else "There are none yet."
            raise EditionMissing(f"no edition of {day} in {self.root}. {have} `headwater run --day {day}` makes it.")
        return Edition.load(self.root / str(day))

    def as_of(self, day: dt.date, among: Collection[dt.date] | None = None) -> EditionView:
        """The store as a reader saw it at the end of `day`: its newest edition no later than that (of the days `among`), or none."""
        earlier = [known for known in self.days() if known <= day and (among is None or known in among)]
        return EditionView(day, self.get(earlier[-1]) if earlier else None)

    def live(self) -> Edition:
        """The edition that look-ups answer from. Raises EditionMissing."""
        pointer = self.pointer()
        if pointer is None:
            raise EditionMissing(f"no edition is live in {self.root.parent}. `headwater run` or `backfill` publishes one.")
        return self.get(pointer[0])

    def pointer(self) -> tuple[dt.date, str] | None:
        """Day and digest of the edition that readers were last switched to."""
        if not self._pointer.is_file():
            return None
        raw = read_json(self._pointer)
        try:
            return dt.date.fromisoformat(raw["day"]), raw["digest"]
        except (KeyError, TypeError, ValueError) as error:
            raise StoreError(f"{self._pointer}: not a pointer to an edition ({error!r}). Remove it and run the last day again.") from error

    def set_live(self, day: dt.date) -> None:
        edition = self.get(day)
        write_json(self._pointer, {"day": str(day), "digest": edition.digest})

    def publish(
        self, day: dt.date, snapshots: Iterable[Snapshot], fingerprint: str, policy: Mapping[str, Any], buckets: int,
        replace: bool = False,
    ) -> Edition:  # fmt: skip
        """Write an edition whole: manifest last, one rename. The same again is a no-op.

        Raises EditionConflict where the day is published from other inputs and `replace` is not set.
        """
        snapshots = list(snapshots)
        for snapshot in snapshots:
            if snapshot.day != day:
                raise StoreError(f"edition {day}: the snapshot {snapshot.name} is of {snapshot.day}.")
        if day in self.days():
            known = self.get(day)
            if known.fingerprint == fingerprint:
                return known
            if not replace:
                raise conflict(day, known.fingerprint, fingerprint)
        manifest = {
            "day": str(day), "fingerprint": fingerprint, "policy": dict(policy), "buckets": buckets,
            "snapshots": {s.name: {"entity": s.entity, "rows": len(s), "digest": s.digest, "space": s.space.as_json()} for s in snapshots},
        }  # fmt: skip
        manifest["digest"] = digest_of(manifest["snapshots"], manifest["policy"])
        folder = self.root / str(day)
        with new_folder(folder) as aside:
            for snapshot in snapshots:
                write_snapshot(aside / snapshot.name, snapshot, buckets)
            write_json(aside / MANIFEST, manifest)
        return Edition.load(folder)


def conflict(day: dt.date, known: str, now: str) -> EditionConflict:
    return EditionConflict(
        f"edition {day} is published, and was made from other inputs than it would be now (fingerprint {known[:12]}, now "
        f"{now[:12]}): the log, an entity table, the config or an earlier edition has changed. Put the inputs back, or run "
        f"`headwater run --day {day} --replace`, which replays every later day too."
    )
