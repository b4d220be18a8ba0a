"""What the gates look at, drawn from editions as samples, and what is written down of a day for
people.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headwater.embeddings.alignment import Rotation
from headwater.embeddings.gates.cohorts import cosine_by_cohort
from headwater.embeddings.gates.evidence import Evidence, GateResult, Probe
from headwater.embeddings.snapshot import Basis, Snapshot, basis_of, day_number
from headwater.store import Composed, Daily, Edition
from headwater.store.reports import ServingError, SnapshotHealth, read_report

# Entities of a snapshot that the gates look at: their figures move by about a hundredth from
# sample to sample.
SAMPLE = 8_000


@dataclass(frozen=True)
class Subject:
    """A snapshot that was composed, and what it is compared with: the last editions, newest first.

    `coverage` is the share of today's rows that were served a vector, None before the first
    edition.
    """

    name: str
    composed: Composed
    daily: Daily
    rotation: Rotation | None
    last: Sequence[Edition]
    coverage: float | None

    @property
    def before(self) -> Edition | None:
        """The last edition, if it holds the snapshot in the same space."""
        before = self.last[0] if self.last else None
        if before is None or self.name not in before.snapshots:
            return None
        same = before.space(self.name) == self.composed.edition.space(self.name)
        return before if same else None


def evidence_of(subject: Subject, probe: Probe | None) -> Evidence:
    """What the gates are to look at."""
    name, edition = subject.name, subject.composed.edition
    merged, before = subject.composed.merged[name], subject.before
    fresh = daily_sample(subject.daily, subject.rotation, SAMPLE // 2)
    last = [known for known in subject.last if name in known.snapshots] if before else []
    entries = [known.snapshots[name] for known in last]
    shares = [coverage_of(known, name) for known in subject.last]
    keys = np.union1d(fresh.keys_N, edition.sample(name, SAMPLE // 2).keys_N)
    return Evidence(
        name=name,
        now=edition.pick(name, keys),
        fresh=fresh,
        before=before.pick(name, keys) if before is not None else None,
        rows=merged.rows,
        fresh_rows=merged.fresh,
        rows_before=tuple(int(entry["rows"]) for entry in entries),
        fresh_before=tuple(int(entry["fresh"]) for entry in entries),
        coverage=subject.coverage if subject.last else None,
        coverage_before=tuple(share for share in shares if share is not None),
        not_finite=merged.not_finite,
        largest_norm=merged.largest_norm,
        young=edition.policy.young(edition.space(name), edition.day),
        probe=probe,
    )


def coverage_of(edition: Edition, name: str) -> float | None:
    """The share of a day's rows that were served a vector, as its report says."""
    report = read_report(edition.folder)
    return None if report is None else report.coverage.get(name)


def daily_sample(daily: Daily, rotation: Rotation | None, most: int) -> Snapshot:
    """Some of a day's fresh vectors, evenly spread over the keys, in the space they are published
    in.
    """
    segment = daily.segment
    rows = np.zeros(0, np.int64)
    if segment.rows:
        spread = np.linspace(0, segment.rows - 1, min(segment.rows, most))
        rows = np.unique(spread.astype(np.int64))
    vectors, steps = segment.gather(rows)
    # Vectors that rest on nothing seen today stand for nobody who was.
    today = day_number(daily.day)
    last_seen = segment.seen(0, segment.rows)[rows]
    shown = (basis_of(steps) == Basis.SEEN) & (last_seen == today)
    rows, vectors = rows[shown], vectors[shown]
    space = daily.space
    if rotation is not None:
        vectors, space = vectors @ rotation.matrix_DD, rotation.apply_to(space)
    seen = np.full(len(rows), today, np.int32)
    ids = segment.ids(0, segment.rows).gather(rows)
    keys = np.array(segment.keys[rows])
    return Snapshot(space, daily.entity, daily.day, keys, vectors, seen, ids)


def health_of(edition: Edition, evidence: Evidence, checks: Sequence[GateResult]) -> SnapshotHealth:
    """A snapshot's figures of the day."""
    part, before = edition.part(evidence.name), evidence.before
    ages = day_number(edition.day) - np.asarray(part.column("seen"))
    moved = np.zeros(0)
    if before is not None:
        moved = _cosines(before, evidence.now, evidence.fresh)
    return SnapshotHealth(
        rows=evidence.rows,
        fresh=evidence.fresh_rows,
        space=str(part.space),
        digest=part.digest,
        segments=len(part.segments),
        cosine_median=float(np.median(moved)) if len(moved) else None,
        cosine_p10=float(np.quantile(moved, 0.1)) if len(moved) else None,
        age_mean_days=float(ages.mean()) if len(ages) else None,
        age_p90_days=float(np.quantile(ages, 0.9)) if len(ages) else None,
        cohorts=cosine_by_cohort(before, evidence.fresh) if before is not None else {},
        gates=tuple(checks),
        serving=_serving_error(edition, evidence.now),
    )


def _serving_error(edition: Edition, now: Snapshot) -> ServingError | None:
    """None where vectors are served as they are kept."""
    name = edition.encoding.name
    if name == "float32":
        return None
    if len(now) == 0:
        return ServingError(name, None, None)
    lost = np.linalg.norm(edition.encoding.as_served(now.vectors_ND) - now.vectors_ND, axis=1)
    error = lost / np.maximum(np.linalg.norm(now.vectors_ND, axis=1), 1e-12)
    return ServingError(name, float(error.mean()), float(error.max()))


def _cosines(before: Snapshot, now: Snapshot, fresh: Snapshot) -> np.ndarray:
    """Of the published vectors of those seen again today, with the last edition's."""
    keys = np.intersect1d(np.intersect1d(before.keys_N, now.keys_N), fresh.keys_N)
    a, b = before.vectors_ND[before.find(keys)[0]], now.vectors_ND[now.find(keys)[0]]
    return np.asarray(
        (a * b).sum(axis=1)
        / np.maximum(np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1), 1e-12)
    )
