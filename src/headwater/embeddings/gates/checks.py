"""The gates: each compares a figure with a threshold, and says what is wrong.

`check_evidence` is the table of contents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from threadpoolctl import threadpool_limits

from headwater.config import GateConfig
from headwater.embeddings.gates.classifiers import auc_error, domain_auc, probe_auc
from headwater.embeddings.gates.cohorts import CohortCosine, cosine_by_cohort
from headwater.embeddings.gates.evidence import Evidence, GateResult
from headwater.embeddings.gates.figures import (
    duplicate_share,
    effective_rank,
    neighbour_overlap,
    sample_rows,
)
from headwater.embeddings.snapshot import Snapshot

FEW = 20  # below so many rows, a median or a rank says nothing
# of the rarer class: from there on, two AUCs of equal editions rarely lie 0.05 apart
FEW_LABELS = 50
NO_LAST = "no last edition"
FAULTS = {
    "coverage": "fewer of today's rows met a vector than usual",
    "rows": "many entities have gone missing",
    "fresh rows": "far fewer entities were seen than usual",
    "not finite": "vectors hold NaN or infinity",
    "largest norm": "a vector has grown out of bounds",
    "median norm": "the vectors have shrunk to nothing",
    "duplicates": "many entities share a vector",
    "effective rank": "the vectors have collapsed onto a few directions",
    "probe AUC": "a click model on these vectors is worse than on the last edition's",
    "effective rank share": "far fewer directions are in use than before",
    "cosine of continuing": (
        "entities seen the last day too have jumped (a space that still turns wants more"
        " warm_up_days)"
    ),
    "cosine of returning": "entities that came back no longer fit their old vectors",
    "centre gap of new": "new entities lie elsewhere than the known ones",
    "domain AUC": "a classifier tells today's vectors from the last edition's",
    "neighbour overlap": "entities have other neighbours now",
}


def check_evidence(evidence: Evidence, gates: GateConfig, seed: int) -> list[GateResult]:
    """Every gate of one snapshot, always the same ones in the same order. Raises SpaceMismatch."""
    # many small fits: threads only wait for each other, on a busy machine ten times as long
    with threadpool_limits(1):
        drift = [*_directions(evidence, gates, seed), *_neighbourhood(evidence, gates, seed)]
        if evidence.young:
            drift = [_not_enforced(result) for result in drift]
        return [
            *_counts(evidence, gates),
            *_norms(evidence, gates),
            *_collapse(evidence, gates),
            _probe(evidence, gates, seed),
            *drift,
        ]


# ---- of the new edition alone --------------------------------------------------------------------


def _counts(e: Evidence, gates: GateConfig) -> list[GateResult]:
    coverage = _share_of_usual(e.coverage, e.coverage_before)
    rows = _share_of_usual(e.rows, e.rows_before)
    fresh = _share_of_usual(e.fresh_rows, e.fresh_before, FEW)
    return [
        _least(e, "coverage", coverage, gates.min_coverage_share),
        _least(e, "rows", rows, gates.min_rows_share),
        _least(e, "fresh rows", fresh, gates.min_fresh_share),
    ]


def _norms(e: Evidence, gates: GateConfig) -> list[GateResult]:
    norms = np.linalg.norm(e.now.vectors_ND.astype(np.float64), axis=1)
    median = float(np.median(norms)) if len(e.now) else "no vectors"
    return [
        _most(e, "not finite", float(e.not_finite), 0.0),
        _most(e, "largest norm", e.largest_norm, gates.max_norm),
        _least(e, "median norm", median, gates.min_norm),
    ]


def _collapse(e: Evidence, gates: GateConfig) -> list[GateResult]:
    duplicates: float | str = _too_few(len(e.now))
    rank: float | str = duplicates
    if len(e.now) >= FEW:
        duplicates = duplicate_share(e.now)
        rank = effective_rank(e.now.vectors_ND)
    return [
        _most(e, "duplicates", duplicates, gates.max_duplicate_share),
        _least(e, "effective rank", rank, gates.min_effective_rank),
    ]


def _probe(e: Evidence, gates: GateConfig, seed: int) -> GateResult:
    check, probe = "probe AUC", e.probe
    if probe is None:
        return _least(e, check, "no probe rows", 0.0)
    positive = int((probe.labels_N == 1).sum())
    fewest = min(positive, int((probe.labels_N == 0).sum()))
    if fewest < FEW_LABELS:
        few = f"{fewest} labels of the rarer class, fewer than {FEW_LABELS}"
        return _least(e, check, few, 0.0)
    now = probe_auc(probe.labels_N, probe.now_user_ND, probe.now_item_ND, seed)
    if probe.before_user_ND is None or probe.before_item_ND is None:
        return GateResult(e.name, check, now, None, True, f"not applicable: {NO_LAST}")
    before = probe_auc(probe.labels_N, probe.before_user_ND, probe.before_item_ND, seed)
    chance = auc_error(positive, len(probe.labels_N) - positive)
    return _least(e, check, now, before - gates.max_probe_drop - 2 * chance)


# ---- drift, of two editions ----------------------------------------------------------------------


def _directions(e: Evidence, gates: GateConfig, seed: int) -> list[GateResult]:
    """Which directions are in use, and how far entities lie from where they or others lay."""
    cohorts = cosine_by_cohort(e.before, e.fresh) if e.before is not None else {}
    rank_share = _rank_share(e.before, e.now, seed)
    continuing = _to_last(cohorts, "continuing")
    returning = _to_last(cohorts, "returning")
    return [
        _least(e, "effective rank share", rank_share, gates.min_effective_rank_share),
        _least(e, "cosine of continuing", continuing, gates.min_cosine_continuing),
        _least(e, "cosine of returning", returning, gates.min_cosine_returning),
        _most(e, "centre gap of new", _centre_gap(cohorts), gates.max_centre_gap_new),
    ]


def _neighbourhood(e: Evidence, gates: GateConfig, seed: int) -> list[GateResult]:
    domain = _domain(e.before, e.now, seed)
    overlap = _overlap(e.before, e.now, gates.neighbours, seed)
    return [
        _most(e, "domain AUC", domain, gates.max_domain_auc),
        _least(e, "neighbour overlap", overlap, gates.min_neighbour_overlap),
    ]


def _to_last(cohorts: dict[str, CohortCosine], cohort: str) -> float | str:
    if not cohorts:
        return NO_LAST
    figure, rows = cohorts[cohort].to_last, cohorts[cohort].rows
    return figure if figure is not None and rows >= FEW else _too_few(rows)


def _centre_gap(cohorts: dict[str, CohortCosine]) -> float | str:
    if not cohorts:
        return NO_LAST
    new, known = cohorts["new"], cohorts["continuing"]
    if new.to_centre is None or known.to_centre is None or min(new.rows, known.rows) < FEW:
        return f"{new.rows} new and {known.rows} continuing, fewer than {FEW}"
    return abs(new.to_centre - known.to_centre)


def _rank_share(before: Snapshot | None, now: Snapshot, seed: int) -> float | str:
    """On samples of one size, because a rank grows with the rows."""
    if before is None:
        return NO_LAST
    n = min(len(before), len(now))
    if n < FEW:
        return _too_few(n)
    rng = np.random.default_rng(seed)
    rank_now = effective_rank(now.vectors_ND[sample_rows(len(now), n, rng)])
    return rank_now / effective_rank(before.vectors_ND[sample_rows(len(before), n, rng)])


def _domain(before: Snapshot | None, now: Snapshot, seed: int) -> float | str:
    """Of published vectors.

    A day's fresh ones are told from an average of many days even when all is well.
    """
    if before is None:
        return NO_LAST
    n = min(len(before), len(now))
    return domain_auc(before, now, seed) if n >= FEW else _too_few(n)


def _overlap(before: Snapshot | None, now: Snapshot, neighbours: int, seed: int) -> float | str:
    """At most a tenth of the entities count as neighbours.

    Unrelated vectors of n entities share k / (n - 1) by chance.
    """
    if before is None:
        return NO_LAST
    shared = int(before.find(now.keys_N)[1].sum())
    if shared < FEW:
        return _too_few(shared)
    return neighbour_overlap(before, now, min(neighbours, shared // 10), seed)


# ---- figures against thresholds ------------------------------------------------------------------


def _least(evidence: Evidence, check: str, figure: float | str, threshold: float) -> GateResult:
    """A figure must be at least the threshold; a text in its place says why there is none."""
    if isinstance(figure, str):
        return _not_applicable(evidence, check, figure, threshold)
    return _result(evidence, check, figure, threshold, figure >= threshold)


def _most(evidence: Evidence, check: str, figure: float | str, threshold: float) -> GateResult:
    """A figure must be at most the threshold; a text in its place says why there is none."""
    if isinstance(figure, str):
        return _not_applicable(evidence, check, figure, threshold)
    return _result(evidence, check, figure, threshold, figure <= threshold)


def _result(
    evidence: Evidence, check: str, figure: float, threshold: float, passed: bool
) -> GateResult:
    reason = "within bounds" if passed else FAULTS[check]
    return GateResult(evidence.name, check, figure, threshold, bool(passed), reason)


def _not_applicable(evidence: Evidence, check: str, why: str, threshold: float) -> GateResult:
    return GateResult(evidence.name, check, None, threshold, True, f"not applicable: {why}")


def _not_enforced(result: GateResult) -> GateResult:
    if result.passed:
        return result
    reason = f"not enforced while the space warms up: {result.reason}"
    return replace(result, passed=True, reason=reason)


def _too_few(rows: int) -> str:
    return f"{rows} rows, fewer than {FEW}"


def _share_of_usual(value: float | None, past: Sequence[float], at_least: float = 0) -> float | str:
    """Over the median of the past, which one odd day does not move."""
    if value is None or not past:
        return NO_LAST
    usual = float(np.median(past))
    return value / usual if usual > 0 and usual >= at_least else f"{usual:g} is usual"
