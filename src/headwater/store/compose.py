"""An edition out of yesterday's and today's vectors: written, but read by nobody until a catalog
names it.

Folders are named by what is in them, so a step that a killed run had finished is recognised, and a
rewritten day never touches what readers still follow.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headwater.blobs import Layout
from headwater.config import LifecycleConfig, PolicyConfig, StoreConfig
from headwater.digests import digest_of
from headwater.embeddings import Space, one_space
from headwater.embeddings.alignment import Rotation
from headwater.embeddings.policies import Policy, make_policy
from headwater.errors import StoreError
from headwater.files import new_folder, write_json
from headwater.store.arrays import digest_on_disk
from headwater.store.dailies import Daily
from headwater.store.editions import MANIFEST, Edition, Part
from headwater.store.merge import Merge, Merged, merge_part
from headwater.store.segments import Segment

MOST_SEGMENTS = 250  # an index keeps a row's segment in one byte


@dataclass(frozen=True)
class MergeRule:
    """How days become one: the policy, when an entity expires, and how vectors are served."""

    policy: PolicyConfig
    expire_days: int
    encoding: str
    bucket_rows: int

    @classmethod
    def of(cls, lifecycle: LifecycleConfig, store: StoreConfig) -> MergeRule:
        return cls(lifecycle.policy, lifecycle.expire_days, store.encoding, store.bucket_rows)

    def as_json(self) -> dict[str, Any]:
        """What shapes the vectors that are kept."""
        return self.policy.model_dump(mode="json") | {"expire_days": self.expire_days}


@dataclass(frozen=True)
class Provenance:
    """Where an edition comes from: `models` names the upstream checkpoints, `daily` where the fresh
    vectors of each upstream lie (both by upstream), and `rotations` how a new space's vectors are
    turned into the old one's.
    """

    models: Mapping[str, str] = field(default_factory=dict)
    daily: Mapping[str, str] = field(default_factory=dict)
    rotations: Mapping[str, Rotation] = field(default_factory=dict)


@dataclass(frozen=True)
class Composed:
    """An edition that no catalog names yet, and what its merge found, by snapshot."""

    edition: Edition
    merged: Mapping[str, Merged]


@dataclass(frozen=True)
class SnapshotMerge:
    """One snapshot's merge, before it is made: known by the digest of all that shapes it."""

    today: Daily
    before: Part | None
    space: Space
    turn: Rotation | None
    young: bool
    digest: str

    @property
    def delta(self) -> str:
        """The identity of the segment that the merge writes."""
        return f"{self.digest[:24]}-d"

    @property
    def segments(self) -> list[str]:
        kept = self.before.segments if self.before is not None else ()
        return [*(segment.folder.name for segment in kept), self.delta]

    def as_json(self) -> dict[str, Any]:
        """What the manifest says of it, but for what the merge finds."""
        return {
            "entity": self.today.entity,
            "digest": self.digest,
            "space": self.space.as_json(),
            "segments": self.segments,
        }


def compose(
    layout: Layout,
    day: dt.date,
    before: Edition | None,
    daily: Mapping[str, Daily],
    rule: MergeRule,
    source: Provenance,
    again: bool = False,
) -> Composed:
    """Merge yesterday's edition with today's daily vectors and write the result.

    `again` does not trust what was written already, and looks at every byte of it. Raises
    SpaceMismatch; StoreError where averages cannot go on under the policy.
    """
    policy = make_policy(rule.policy)
    merges = {
        name: _merge_of(name, today, before, rule, policy, source.rotations)
        for name, today in daily.items()
    }
    digests = {name: merge.digest for name, merge in merges.items()}
    digest = digest_of(digests, rule.as_json(), rule.encoding)
    folder = layout.edition(day, digest[:24])
    if not _complete(layout, folder, merges, again):
        with new_folder(folder) as aside:
            snapshots = {
                name: merge.as_json() | _merged(layout, aside / name, name, merge, policy, rule)
                for name, merge in merges.items()
            }
            manifest = _manifest(day, digest, rule, source) | {"snapshots": snapshots}
            write_json(aside / MANIFEST, manifest)
    edition = Edition.load(folder)
    return Composed(edition, {name: Merged.of(found) for name, found in edition.snapshots.items()})


def _merge_of(
    name: str,
    today: Daily,
    before: Edition | None,
    rule: MergeRule,
    policy: Policy[Any],
    rotations: Mapping[str, Rotation],
) -> SnapshotMerge:
    turn = rotations.get(today.space.upstream)
    space = today.space if turn is None else turn.apply_to(today.space)
    young = policy.young(space, today.day)
    old = before.part(name) if before is not None and name in before.snapshots else None
    if before is not None and old is not None:
        one_space(old.space, space)
        _expect_same_depth(before, rule, policy)
        if len(old.segments) > MOST_SEGMENTS:
            raise StoreError(
                f"edition {before.folder}: spread over {len(old.segments)} segments, at most"
                f" {MOST_SEGMENTS}. `headwater compact` first."
            )
    digest = digest_of(
        "merge",
        old.digest if old else None,
        rule.as_json(),
        young,
        str(today.day),
        today.digest,
        turn.digest if turn else None,
    )
    return SnapshotMerge(today, old, space, turn, young, digest)


def _expect_same_depth(before: Edition, rule: MergeRule, policy: Policy[Any]) -> None:
    if before.policy_config != rule.policy and before.policy.depth != policy.depth:
        raise StoreError(
            f"edition {before.day} keeps {before.policy.depth} vectors an entity, the policy"
            f" {rule.policy.kind!r} {policy.depth}: averages cannot go on from it. `headwater"
            " rebuild` makes the editions again under the new policy."
        )


def _merged(
    layout: Layout,
    index: Path,
    name: str,
    merge: SnapshotMerge,
    policy: Policy[Any],
    rule: MergeRule,
) -> dict[str, Any]:
    """Do the work of a merge; what it found, as the manifest says it."""
    work = Merge(
        merge.before,
        merge.today.segment,
        policy,
        merge.today.day,
        rule.expire_days,
        merge.young,
        merge.turn.matrix_DD if merge.turn else None,
    )
    delta = layout.segment(name, merge.delta)
    return merge_part(work, delta, index, rule.bucket_rows).as_json()


def _manifest(day: dt.date, digest: str, rule: MergeRule, source: Provenance) -> dict[str, Any]:
    return {
        "day": str(day),
        "digest": digest,
        "policy": rule.policy.model_dump(mode="json"),
        "expire_days": rule.expire_days,
        "encoding": rule.encoding,
        "models": dict(source.models),
        "daily": dict(source.daily),
        "rotations": {name: turn.as_json() for name, turn in source.rotations.items()},
    }


def _complete(
    layout: Layout, folder: Path, merges: Mapping[str, SnapshotMerge], suspicious: bool
) -> bool:
    """Whether an edition lies there already with all its segments; if `suspicious`, with every byte
    of index and deltas as it was written.
    """
    if not Edition.is_there(folder):
        return False
    wanted = [(name, found) for name, merge in merges.items() for found in merge.segments]
    if not all(Segment.is_there(layout.segment(name, found)) for name, found in wanted):
        return False
    if not suspicious:
        return True
    try:
        edition = Edition.load(folder)
        for name, merge in merges.items():
            Segment.open(layout.segment(name, merge.delta)).verify()
            for file, digest in edition.snapshots[name]["index"].items():
                if digest_on_disk(folder / name / file) != digest:
                    return False
    except StoreError:
        return False
    return True
