"""What the gates look at, drawn from editions as samples, and what is written down of a day for
people.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from headwater.embeddings.alignment import Rotation
from headwater.embeddings.gates import Evidence, GateResult, Probe, cosine_by_cohort
from headwater.embeddings.snapshot import Snapshot, day_number
from headwater.store import Composed, Daily, Edition

# entities of a snapshot that the gates look at: their figures move by about a hundredth from sample
# to sample
SAMPLE = 8_000


def evidence_of(
    name: str,
    composed: Composed,
    before: Edition | None,
    daily: Daily,
    rotation: Rotation | None,
    last: Sequence[Mapping[str, Any]],
    coverage: Sequence[float | None],
    probe: Probe | None,
) -> Evidence:
    """`last` are the snapshots' entries in the last editions' manifests, newest first; `coverage`
    is today's, then the last days'.
    """
    edition, merged = composed.edition, composed.merged[name]
    fresh = daily_sample(daily, rotation, SAMPLE // 2)
    space = edition.space(name)
    if before is not None and (name not in before.snapshots or before.space(name) != space):
        before, last = None, ()
    keys = np.union1d(fresh.keys_N, edition.sample(name, SAMPLE // 2).keys_N)
    return Evidence(
        name,
        edition.pick(name, keys),
        fresh,
        before.pick(name, keys) if before is not None else None,
        merged.rows,
        merged.fresh,
        tuple(int(entry["rows"]) for entry in last),
        tuple(int(entry["fresh"]) for entry in last),
        coverage[0],
        tuple(value for value in coverage[1:] if value is not None),
        merged.not_finite,
        merged.largest_norm,
        edition.policy.young(space, edition.day),
        probe,
    )


def daily_sample(daily: Daily, rotation: Rotation | None, most: int) -> Snapshot:
    """Some of a day's fresh vectors, evenly spread over the keys, in the space they are published
    in.
    """
    segment = daily.segment
    rows = (
        np.unique(np.linspace(0, segment.rows - 1, min(segment.rows, most)).astype(np.int64))
        if segment.rows
        else np.zeros(0, np.int64)
    )
    vectors, steps = segment.gather(rows)
    rows, vectors = (
        rows[steps > 0],
        vectors[steps > 0],
    )  # vectors of content alone stand for nobody who was seen
    space = daily.space
    if rotation is not None:
        vectors, space = vectors @ rotation.matrix_DD, rotation.apply_to(space)
    seen = np.full(len(rows), day_number(daily.day), np.int32)
    return Snapshot(
        space,
        daily.entity,
        daily.day,
        np.array(segment.keys[rows]),
        vectors,
        seen,
        segment.ids(0, segment.rows).gather(rows),
    )


def monitor_of(
    edition: Edition, evidence: Evidence, checks: Sequence[GateResult]
) -> dict[str, Any]:
    """A snapshot's figures of the day, as JSON: counts, cosines, ages, what serving in fewer bytes
    costs, and every gate.
    """
    part, now, before = edition.part(evidence.name), evidence.now, evidence.before
    ages = day_number(edition.day) - np.asarray(part.column("seen"))
    moved = _cosines(before, now, evidence.fresh) if before is not None else np.zeros(0)
    found: dict[str, Any] = {
        "rows": evidence.rows,
        "fresh": evidence.fresh_rows,
        "space": str(part.space),
        "digest": part.digest,
        "segments": len(part.segments),
        "cosine_median": float(np.median(moved)) if len(moved) else None,
        "cosine_p10": float(np.quantile(moved, 0.1)) if len(moved) else None,
        "age_mean_days": float(ages.mean()) if len(ages) else None,
        "age_p90_days": float(np.quantile(ages, 0.9)) if len(ages) else None,
        "cohorts": (
            {
                name: cohort.as_json()
                for name, cohort in cosine_by_cohort(before, evidence.fresh).items()
            }
            if before is not None
            else {}
        ),
        "gates": [check.as_json() for check in checks],
    }
    if edition.encoding.name != "float32":
        served = edition.encoding.as_served(now.vectors_ND)
        error = np.linalg.norm(served - now.vectors_ND, axis=1) / np.maximum(
            np.linalg.norm(now.vectors_ND, axis=1), 1e-12
        )
        found["serving"] = {
            "encoding": edition.encoding.name,
            "relative_error_mean": float(error.mean()) if len(error) else None,
            "relative_error_max": float(error.max()) if len(error) else None,
        }
    return found


def _cosines(before: Snapshot, now: Snapshot, fresh: Snapshot) -> np.ndarray:
    """Of the published vectors of those seen again today, with the last edition's."""
    keys = np.intersect1d(np.intersect1d(before.keys_N, now.keys_N), fresh.keys_N)
    a, b = before.vectors_ND[before.find(keys)[0]], now.vectors_ND[now.find(keys)[0]]
    return np.asarray(
        (a * b).sum(axis=1)
        / np.maximum(np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1), 1e-12)
    )
