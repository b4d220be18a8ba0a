"""EditionStore: a home's daily snapshots, segments and editions, and how they are written.

A *home* is the warehouse (the lane `main`) or `lanes/NAME` in it. Folders are named by what is in
them, so a step that a killed run had finished is recognised, and a rewritten day never touches what
readers still follow.
"""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from headwater.config import LifecycleConfig, StoreConfig
from headwater.digests import digest_of
from headwater.embeddings import Snapshot, Space, one_space
from headwater.embeddings.alignment import Rotation
from headwater.embeddings.policies import make_policy
from headwater.errors import StoreError
from headwater.files import new_folder, read_json, write_json
from headwater.ids import as_integers
from headwater.store.arrays import digest_on_disk, key_ranges, rows_between
from headwater.store.editions import MANIFEST, Edition
from headwater.store.merge import Merged, compact_part, merge_part
from headwater.store.segments import Segment, new_segment

DAILY = "daily.json"
MOST_SEGMENTS = 250  # an index keeps a row's segment in one byte


@dataclass(frozen=True)
class Daily:
    """One daily snapshot on disk: the fresh vectors of everyone seen that day."""

    name: str
    space: Space
    entity: str
    day: dt.date
    segment: Segment

    @property
    def digest(self) -> str:
        return digest_of(str(self.space), self.entity, self.segment.digest)


@dataclass(frozen=True)
class Composed:
    """An edition that is written but that no catalog names yet, and what its merge found, by
    snapshot.
    """

    edition: Edition
    merged: Mapping[str, Merged]


class EditionStore:
    """What lies in one home."""

    def __init__(self, home: Path) -> None:
        self.home = home

    # ---- daily snapshots -------------------------------------------------------------------------

    def daily_folder(self, day: dt.date, fingerprint: str) -> Path:
        return self.home / "daily" / str(day) / fingerprint[:16]

    def write_daily(
        self, day: dt.date, fingerprint: str, snapshots: Iterable[Snapshot], bucket_rows: int
    ) -> None:
        """Keep a day's fresh vectors, whole or not at all. Raises StoreError for a snapshot of
        another day.
        """
        snapshots = list(snapshots)
        wrong = [
            f"{snapshot.name} of {snapshot.day}" for snapshot in snapshots if snapshot.day != day
        ]
        if wrong:
            raise StoreError(f"daily snapshots of {day}: received {', '.join(wrong)}.")
        with new_folder(self.daily_folder(day, fingerprint)) as aside:
            for snapshot in snapshots:
                write_snapshot(aside / snapshot.name, snapshot, bucket_rows)
            write_json(
                aside / DAILY,
                {
                    "day": str(day),
                    "snapshots": {
                        s.name: {"entity": s.entity, "space": s.space.as_json()} for s in snapshots
                    },
                },
            )

    def daily(self, day: dt.date, fingerprint: str) -> dict[str, Daily] | None:
        """The fresh vectors of a day, by name; None where they were not kept."""
        return self.read_daily(day, self.daily_folder(day, fingerprint))

    @staticmethod
    def read_daily(day: dt.date, folder: Path) -> dict[str, Daily] | None:
        if not (folder / DAILY).is_file():
            return None
        raw = read_json(folder / DAILY)["snapshots"]
        return {
            name: Daily(
                name,
                Space.from_json(entry["space"]),
                entry["entity"],
                day,
                Segment.open(folder / name),
            )
            for name, entry in raw.items()
        }

    # ---- editions --------------------------------------------------------------------------------

    def compose(
        self,
        day: dt.date,
        before: Edition | None,
        daily: Mapping[str, Daily],
        lifecycle: LifecycleConfig,
        store: StoreConfig,
        models: Mapping[str, str],
        source: str | None = None,
        rotations: Mapping[str, Rotation] | None = None,
        again: bool = False,
    ) -> Composed:
        """Merge yesterday's edition with today's daily vectors and write the result, which nobody
        reads until a catalog names it.

        `rotations` take the daily vectors of a new space to the old one, by upstream; `source` is
        where the daily vectors lie. `again` does not trust what was written already, and looks at
        every byte of it. Raises SpaceMismatch.
        """
        turned = {
            name: (rotations or {}).get(today.space.upstream) for name, today in daily.items()
        }
        spaces = {
            name: today.space if (turn := turned[name]) is None else turn.apply_to(today.space)
            for name, today in daily.items()
        }
        policy = make_policy(lifecycle.policy)
        snapshots: dict[str, dict[str, Any]] = {}
        rule = lifecycle.policy.model_dump(mode="json") | {"expire_days": lifecycle.expire_days}
        parts = {
            name: before.part(name) if before is not None and name in before.snapshots else None
            for name in daily
        }
        for name, today in daily.items():
            young = policy.young(spaces[name], day)
            old = parts[name]
            if old is not None:
                one_space(old.space, spaces[name])
            if (
                before is not None
                and old is not None
                and before.policy_config != lifecycle.policy
                and before.policy.depth != policy.depth
            ):
                raise StoreError(
                    f"edition {before.day} keeps {before.policy.depth} vectors an entity, the"
                    f" policy {lifecycle.policy.kind!r} {policy.depth}: averages cannot go on from"
                    " it. `headwater rebuild` makes the editions again under the new policy."
                )
            turn = turned[name]
            if old is not None and len(old.segments) > MOST_SEGMENTS:
                raise StoreError(
                    f"edition {old.folder.parent}: spread over {len(old.segments)} segments, at"
                    f" most {MOST_SEGMENTS}. `headwater compact` first."
                )
            digest = digest_of(
                "merge",
                old.digest if old else None,
                rule,
                young,
                str(day),
                today.digest,
                turn.digest if turn else None,
            )
            snapshots[name] = {
                "entity": today.entity,
                "digest": digest,
                "space": spaces[name].as_json(),
                "segments": [
                    *(segment.folder.name for segment in (old.segments if old else ())),
                    f"{digest[:24]}-d",
                ],
            }
        digest = digest_of(
            {name: entry["digest"] for name, entry in snapshots.items()}, rule, store.encoding
        )
        folder = self.home / "editions" / str(day) / digest[:24]
        if not self._complete(folder, snapshots, again):
            with new_folder(folder) as aside:
                for name, today in daily.items():
                    delta = self.home / "segments" / name / snapshots[name]["segments"][-1]
                    turn = turned[name]
                    merged = merge_part(
                        parts[name],
                        today.segment,
                        policy,
                        day,
                        lifecycle.expire_days,
                        policy.young(spaces[name], day),
                        turn.matrix_DD if turn else None,
                        delta,
                        aside / name,
                        store.bucket_rows,
                    )
                    snapshots[name] |= {
                        "rows": merged.rows,
                        "fresh": merged.fresh,
                        "not_finite": merged.not_finite,
                        "largest_norm": merged.largest_norm,
                    }
                    snapshots[name]["index"] = dict(merged.index)
                write_json(
                    aside / MANIFEST,
                    {
                        "day": str(day),
                        "digest": digest,
                        "policy": lifecycle.policy.model_dump(mode="json"),
                        "expire_days": lifecycle.expire_days,
                        "encoding": store.encoding,
                        "models": dict(models),
                        "daily": source,
                        "snapshots": snapshots,
                        "rotations": {
                            name: turn.as_json() for name, turn in (rotations or {}).items()
                        },
                    },
                )
        edition = Edition.load(folder)
        figures = {
            name: Merged(e["rows"], e["fresh"], e["not_finite"], e["largest_norm"], e["index"])
            for name, e in edition.snapshots.items()
        }
        return Composed(edition, figures)

    def _complete(
        self, folder: Path, snapshots: Mapping[str, Mapping[str, Any]], suspicious: bool
    ) -> bool:
        """Whether an edition lies there already with all its segments; if `suspicious`, with every
        byte of index and deltas as it was written.
        """
        if not (folder / MANIFEST).is_file():
            return False
        if not all(
            (self.home / "segments" / name / segment / "segment.json").is_file()
            for name, e in snapshots.items()
            for segment in e["segments"]
        ):
            return False
        if not suspicious:
            return True
        try:
            edition = Edition.load(folder)
            for name, entry in snapshots.items():
                Segment.open(self.home / "segments" / name / entry["segments"][-1]).verify()
                for file, digest in edition.snapshots[name]["index"].items():
                    if digest_on_disk(folder / name / file) != digest:
                        return False
        except StoreError:
            return False
        return True

    def compact(self, edition: Edition, bucket_rows: int) -> Edition:
        """The same edition, each snapshot in one segment, in a folder of its own. Readers follow it
        once a catalog names it.
        """
        folder = edition.folder.with_name(f"{edition.folder.name.split('-')[0]}-compact")
        snapshots = {name: dict(entry) for name, entry in edition.snapshots.items()}
        with new_folder(folder) as aside:
            for name, entry in snapshots.items():
                part = edition.part(name)
                names = [segment.folder.name for segment in part.segments]
                identity = f"{digest_of('compact', part.digest, names)[:24]}-c"
                entry["index"] = compact_part(
                    part, self.home / "segments" / name / identity, aside / name, bucket_rows
                )
                entry["segments"] = [identity]
            for extra in edition.folder.glob("*.json"):
                shutil.copyfile(extra, aside / extra.name)
            write_json(
                aside / MANIFEST, read_json(edition.folder / MANIFEST) | {"snapshots": snapshots}
            )
        return Edition.load(folder)

    def turn(
        self, edition: Edition, rotations: Mapping[str, Rotation], bucket_rows: int
    ) -> Edition:
        """The edition with its vectors turned into another space, by upstream, in a folder of its
        own.
        """
        raw = read_json(edition.folder / MANIFEST)
        snapshots = {name: dict(entry) for name, entry in edition.snapshots.items()}
        turned = {name: rotations.get(edition.space(name).upstream) for name in snapshots}
        digest = digest_of(
            "turned", edition.digest, {name: turn.digest for name, turn in rotations.items()}
        )
        folder = self.home / "editions" / str(edition.day) / digest[:24]
        with new_folder(folder) as aside:
            for name, entry in snapshots.items():
                part, turn = edition.part(name), turned[name]
                if turn is None:
                    shutil.copytree(part.folder, aside / name)
                    continue
                entry["digest"] = digest_of("turned", part.digest, turn.digest)
                entry["space"] = turn.apply_to(part.space).as_json()
                entry["segments"] = [f"{entry['digest'][:24]}-t"]
                target = self.home / "segments" / name / entry["segments"][0]
                entry["index"] = compact_part(
                    part, target, aside / name, bucket_rows, turn.matrix_DD
                )
            for extra in edition.folder.glob("*.json"):
                shutil.copyfile(extra, aside / extra.name)
            held = {name: Rotation.from_json(old) for name, old in raw["rotations"].items()}
            kept = {
                name: turn if name not in held else held[name].then(turn)
                for name, turn in rotations.items()
            }
            write_json(
                aside / MANIFEST,
                raw
                | {
                    "digest": digest,
                    "snapshots": snapshots,
                    "rotations": {name: turn.as_json() for name, turn in kept.items()},
                },
            )
        return Edition.load(folder)

    def set_aside(self, edition: Edition, reasons: Mapping[str, Any]) -> Path:
        """Keep a refused edition for inspection under `refused/DAY/`, where no reader looks."""
        folder = self.home / "refused" / str(edition.day) / edition.folder.name
        with new_folder(folder) as aside:
            shutil.copytree(edition.folder, aside, dirs_exist_ok=True)
            write_json(aside / "refused.json", reasons)
        return folder


def write_snapshot(folder: Path, snapshot: Snapshot, bucket_rows: int) -> None:
    """A snapshot in memory as a segment of one step; of none, where a vector is of
    content alone.
    """
    content = np.zeros(len(snapshot), bool) if snapshot.content_N is None else snapshot.content_N
    with new_segment(folder, snapshot.space.width, as_integers(snapshot.ids)) as out:
        for low, high in key_ranges(len(snapshot), bucket_rows):
            first, last = rows_between(snapshot.keys_N, low, high)
            rows = slice(first, last)
            steps = (~content[rows]).astype(np.uint8)
            out.append(
                snapshot.keys_N[rows],
                snapshot.vectors_ND[rows],
                steps,
                snapshot.seen_N[rows],
                snapshot.ids[rows],
            )
