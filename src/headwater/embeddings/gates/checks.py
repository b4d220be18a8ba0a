"""What an edition must satisfy before it is published: each check a figure, a threshold and a
reason.

`check_evidence` is the table of contents. Shape suffixes: N rows, D width of a vector, Q queries, K
neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from headwater.config import GateConfig
from headwater.embeddings.snapshot import Snapshot, same_space

FEW = 20  # below so many rows, a median or a rank says nothing
FEW_LABELS = (
    50  # of the rarer class: from there on, two AUCs of equal editions rarely lie 0.05 apart
)
SPLITS = 3  # of the probe, to halve the noise of one
NO_LAST = "no last edition"


@dataclass(frozen=True)
class Probe:
    """Rows of the day: vectors of the user and the item of each row, from the new and from the last
    edition, and the label.
    """

    labels_N: np.ndarray  # 0 or 1
    now_user_ND: np.ndarray
    now_item_ND: np.ndarray
    before_user_ND: np.ndarray | None  # None: no last edition
    before_item_ND: np.ndarray | None


@dataclass(frozen=True)
class Evidence:
    """What the gates look at, of one snapshot (say `ctr_user`).

    Snapshots are samples (some 20,000 rows at most; the same entities wherever two of them have
    them), counts are of the whole.
    """

    name: str
    now: Snapshot  # of the new edition's published vectors
    fresh: Snapshot  # today's daily vectors of entities seen today, in the same space
    before: (
        Snapshot | None
    )  # of the last edition's vectors, in the same space; None on the first day
    rows: int  # of the new edition
    fresh_rows: int  # entities seen today
    rows_before: tuple[int, ...]  # of the last editions (up to 7), newest first
    fresh_before: tuple[int, ...]  # entities seen on those days
    coverage: (
        float | None
    )  # share of today's log rows whose entity had a served vector; None before the first edition
    coverage_before: tuple[float, ...]  # of the last days
    not_finite: int  # rows of the new edition with a NaN or an infinity
    largest_norm: float
    # the space is in its warm-up: it still turns, so what measures drift is reported and not
    # enforced
    young: bool
    probe: Probe | None = None


@dataclass(frozen=True)
class GateResult:
    """`reason`: what is wrong where it failed; why it passed all the same where it does not apply
    (no figure) or is not enforced.
    """

    snapshot: str
    check: str
    figure: float | None
    threshold: float | None
    passed: bool
    reason: str

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class CohortCosine:
    """Of one cohort of today's entities; a figure is None where the cohort is empty, or new (no
    last vector).
    """

    rows: int
    to_last: (
        float | None
    )  # median cosine of today's vector with the entity's own in the last edition
    to_last_p10: float | None
    to_centre: float | None  # median cosine with the mean direction of the last edition

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


# ---- the gates -----------------------------------------------------------------------------------


def check_evidence(evidence: Evidence, gates: GateConfig, seed: int) -> list[GateResult]:
    """Every gate of one snapshot, always the same ones in the same order. Raises SpaceMismatch."""
    with threadpool_limits(
        1
    ):  # many small fits: threads only wait for each other, on a busy machine ten times as long
        return _check_all(evidence, gates, seed)


def _check_all(evidence: Evidence, gates: GateConfig, seed: int) -> list[GateResult]:
    e, now, before = evidence, evidence.now, evidence.before
    norms, enough = np.linalg.norm(now.vectors_ND.astype(np.float64), axis=1), len(now) >= FEW
    cohorts = cosine_by_cohort(before, e.fresh) if before is not None else {}
    whole = [
        _least(
            e,
            "coverage",
            _share_of_usual(e.coverage, e.coverage_before),
            gates.min_coverage_share,
            "fewer of today's rows met a vector than usual",
        ),
        _least(
            e,
            "rows",
            _share_of_usual(e.rows, e.rows_before),
            gates.min_rows_share,
            "many entities have gone missing",
        ),
        _least(
            e,
            "fresh rows",
            _share_of_usual(e.fresh_rows, e.fresh_before, FEW),
            gates.min_fresh_share,
            "far fewer entities were seen than usual",
        ),
        _most(e, "not finite", float(e.not_finite), 0.0, "vectors hold NaN or infinity"),
        _most(
            e, "largest norm", e.largest_norm, gates.max_norm, "a vector has grown out of bounds"
        ),
        _least(
            e,
            "median norm",
            float(np.median(norms)) if len(now) else "no vectors",
            gates.min_norm,
            "the vectors have shrunk to nothing",
        ),
        _most(
            e,
            "duplicates",
            duplicate_share(now) if enough else _too_few(len(now)),
            gates.max_duplicate_share,
            "many entities share a vector",
        ),
        _least(
            e,
            "effective rank",
            effective_rank(now.vectors_ND) if enough else _too_few(len(now)),
            gates.min_effective_rank,
            "the vectors have collapsed onto a few directions",
        ),
        _probe_gate(e, gates, seed),
    ]
    drift = [
        _least(
            e,
            "effective rank share",
            _rank_share(before, now, seed),
            gates.min_effective_rank_share,
            "far fewer directions are in use than before",
        ),
        _least(
            e,
            "cosine of continuing",
            _to_last(cohorts, "continuing"),
            gates.min_cosine_continuing,
            "entities seen the last day too have jumped (a space that still turns wants more"
            " warm_up_days)",
        ),
        _least(
            e,
            "cosine of returning",
            _to_last(cohorts, "returning"),
            gates.min_cosine_returning,
            "entities that came back no longer fit their old vectors",
        ),
        _most(
            e,
            "centre gap of new",
            _centre_gap(cohorts),
            gates.max_centre_gap_new,
            "new entities lie elsewhere than the known ones",
        ),
        _most(
            e,
            "domain AUC",
            _domain(before, now, seed),
            gates.max_domain_auc,
            "a classifier tells today's vectors from the last edition's",
        ),
        _least(
            e,
            "neighbour overlap",
            _overlap(before, now, gates.neighbours, seed),
            gates.min_neighbour_overlap,
            "entities have other neighbours now",
        ),
    ]
    return whole + [_unless_young(result) for result in drift] if e.young else whole + drift


def _least(
    evidence: Evidence, check: str, figure: float | str, threshold: float, fault: str
) -> GateResult:
    """A figure must be at least the threshold; a text in its place says why there is none."""
    return _result(
        evidence,
        check,
        figure,
        threshold,
        "" if isinstance(figure, str) or figure >= threshold else fault,
    )


def _most(
    evidence: Evidence, check: str, figure: float | str, threshold: float, fault: str
) -> GateResult:
    """A figure must be at most the threshold; a text in its place says why there is none."""
    return _result(
        evidence,
        check,
        figure,
        threshold,
        "" if isinstance(figure, str) or figure <= threshold else fault,
    )


def _result(
    evidence: Evidence, check: str, figure: float | str, threshold: float, fault: str
) -> GateResult:
    if isinstance(figure, str):
        return GateResult(evidence.name, check, None, threshold, True, f"not applicable: {figure}")
    return GateResult(evidence.name, check, figure, threshold, not fault, fault or "within bounds")


def _unless_young(result: GateResult) -> GateResult:
    return (
        result
        if result.passed
        else replace(
            result, passed=True, reason=f"not enforced while the space warms up: {result.reason}"
        )
    )


def _too_few(rows: int) -> str:
    return f"{rows} rows, fewer than {FEW}"


def _share_of_usual(value: float | None, past: Sequence[float], at_least: float = 0) -> float | str:
    """Over the median of the past, which one odd day does not move."""
    if value is None or not past:
        return NO_LAST
    usual = float(np.median(past))
    return value / usual if usual > 0 and usual >= at_least else f"{usual:g} is usual"


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
    return effective_rank(now.vectors_ND[_sample(len(now), n, rng)]) / effective_rank(
        before.vectors_ND[_sample(len(before), n, rng)]
    )


def _domain(before: Snapshot | None, now: Snapshot, seed: int) -> float | str:
    """Of published vectors: a day's fresh ones are told from an average of many days even when all
    is well.
    """
    if before is None:
        return NO_LAST
    n = min(len(before), len(now))
    return domain_auc(before, now, seed) if n >= FEW else _too_few(n)


def _overlap(before: Snapshot | None, now: Snapshot, neighbours: int, seed: int) -> float | str:
    """At most a tenth of the entities count as neighbours: unrelated vectors of n entities share k
    / (n - 1) by chance.
    """
    if before is None:
        return NO_LAST
    shared = int(before.find(now.keys_N)[1].sum())
    return (
        neighbour_overlap(before, now, min(neighbours, shared // 10), seed)
        if shared >= FEW
        else _too_few(shared)
    )


def _probe_gate(evidence: Evidence, gates: GateConfig, seed: int) -> GateResult:
    check, fault, probe = (
        "probe AUC",
        "a click model on these vectors is worse than on the last edition's",
        evidence.probe,
    )
    if probe is None:
        return _least(evidence, check, "no probe rows", 0.0, fault)
    least = int(min((probe.labels_N == 1).sum(), (probe.labels_N == 0).sum()))
    if least < FEW_LABELS:
        return _least(
            evidence,
            check,
            f"{least} labels of the rarer class, fewer than {FEW_LABELS}",
            0.0,
            fault,
        )
    now = probe_auc(probe.labels_N, probe.now_user_ND, probe.now_item_ND, seed)
    if probe.before_user_ND is None or probe.before_item_ND is None:
        return GateResult(evidence.name, check, now, None, True, f"not applicable: {NO_LAST}")
    before = probe_auc(probe.labels_N, probe.before_user_ND, probe.before_item_ND, seed)
    positive = int((probe.labels_N == 1).sum())
    return _least(
        evidence,
        check,
        now,
        before - gates.max_probe_drop - 2 * auc_error(positive, len(probe.labels_N) - positive),
        fault,
    )


# ---- the figures ---------------------------------------------------------------------------------


def effective_rank(vectors_ND: np.ndarray, sample: int = 20_000) -> float:
    """exp(entropy) of the normalised singular values of the centred vectors (Roy & Vetterli 2007);
    1 is a collapse.
    """
    rows = vectors_ND[:: max(1, len(vectors_ND) // sample)].astype(np.float64)
    if len(rows) < 2:
        return float(vectors_ND.shape[1])
    values = np.linalg.svd(rows - rows.mean(axis=0), compute_uv=False)
    if values.sum() == 0:
        return 1.0
    shares = values / values.sum()
    shares = shares[shares > 0]
    return float(np.exp(-(shares * np.log(shares)).sum()))


def cosine_to(before: Snapshot, now: Snapshot) -> np.ndarray:
    """Cosine of each shared entity's two vectors. Raises SpaceMismatch."""
    same_space(before, now)
    rows, known = before.find(now.keys_N)
    return np.asarray(
        (_unit(before.vectors_ND[rows[known]]) * _unit(now.vectors_ND[known])).sum(axis=1)
    )


def cosine_by_cohort(before: Snapshot, fresh: Snapshot) -> dict[str, CohortCosine]:
    """How far today's daily vectors lie from the last edition: of `continuing` (last seen on the
    last day that `before` saw anyone), `returning` (last seen earlier) and `new` entities. Raises
    SpaceMismatch.
    """
    own = cosine_to(before, fresh)
    rows, known = before.find(fresh.keys_N)
    seen = before.seen_N[rows[known]]
    centre = _unit(_unit(before.vectors_ND).sum(axis=0, keepdims=True))[0]
    to_centre = _unit(fresh.vectors_ND) @ centre
    last = seen == before.seen_N.max(initial=np.iinfo(np.int32).min)
    return {
        "continuing": _cohort(own[last], to_centre[known][last]),
        "returning": _cohort(own[~last], to_centre[known][~last]),
        "new": _cohort(own[:0], to_centre[~known]),
    }


def _cohort(own_N: np.ndarray, to_centre_N: np.ndarray) -> CohortCosine:
    to_last, p10 = (
        (float(np.median(own_N)), float(np.quantile(own_N, 0.1))) if len(own_N) else (None, None)
    )
    return CohortCosine(
        len(to_centre_N), to_last, p10, float(np.median(to_centre_N)) if len(to_centre_N) else None
    )


def domain_auc(before: Snapshot, now: Snapshot, seed: int) -> float:
    """ROC-AUC of a logistic regression that tells `now` from `before`; 0.5: it cannot. Raises
    SpaceMismatch.

    Two folds of entities: with both vectors of an entity on one side, it cannot learn who is in
    which. Not symmetrised: below 0.5 is chance. It sees a shift of the mean, not of the scale (that
    is the norms' gate). After the classifier two-sample test of Lopez-Paz & Oquab 2017.
    """
    same_space(before, now)
    entities, entity_N = np.unique(np.concatenate([before.keys_N, now.keys_N]), return_inverse=True)
    fold_N = (np.random.default_rng(seed).permutation(len(entities)) % 2)[entity_N]
    labels_N = np.repeat([0.0, 1.0], [len(before), len(now)])
    return _cross_fitted_auc(np.concatenate([before.vectors_ND, now.vectors_ND]), labels_N, fold_N)


def neighbour_overlap(before: Snapshot, now: Snapshot, k: int, seed: int) -> float:
    """Mean share of an entity's `k` nearest (cosine, exact) that are its nearest in both, among
    shared entities; 1 where fewer than two are shared. At most 500 entities ask, among at most
    20,000. Raises SpaceMismatch.
    """
    same_space(before, now)
    rng = np.random.default_rng(seed)
    rows, known = before.find(now.keys_N)
    among = _sample(int(known.sum()), 20_000, rng)
    if len(among) < 2:
        return 1.0
    k = max(1, min(k, len(among) - 1))
    asks_Q = _sample(len(among), 500, rng)
    before_QK = _nearest(before.vectors_ND[rows[known]][among], asks_Q, k)
    now_QK = _nearest(now.vectors_ND[known][among], asks_Q, k)
    return float((before_QK[:, :, None] == now_QK[:, None, :]).any(axis=2).mean())


def _nearest(vectors_ND: np.ndarray, asks_Q: np.ndarray, k: int) -> np.ndarray:
    unit_ND = _unit(vectors_ND)
    away_QN = -(unit_ND[asks_Q] @ unit_ND.T)
    away_QN += np.linspace(
        0, 1e-6, len(unit_ND)
    )  # equal vectors tie: the same of them come first in both editions
    away_QN[np.arange(len(asks_Q)), asks_Q] = np.inf
    return np.argpartition(away_QN, k - 1, axis=1)[:, :k]


def duplicate_share(snapshot: Snapshot) -> float:
    """Share of the rows whose vector is, byte for byte, another row's too."""
    if len(snapshot) == 0:
        return 0.0
    vectors_ND = np.ascontiguousarray(snapshot.vectors_ND)
    _, counts = np.unique(
        vectors_ND.view(f"V{vectors_ND.itemsize * vectors_ND.shape[1]}"), return_counts=True
    )
    return float(counts[counts > 1].sum() / len(snapshot))


def auc_error(positive: int, negative: int) -> float:
    """Standard error of the ROC-AUC of a score that tells nothing (Hanley and McNeil 1982): the
    most that chance in so few rows may do.
    """
    return float(np.sqrt((1 / positive + 1 / negative) / 12))


def probe_auc(labels_N: np.ndarray, user_ND: np.ndarray, item_ND: np.ndarray, seed: int) -> float:
    """ROC-AUC of a logistic regression on the products (u * v) of unit user and item vectors: two
    folds, each judged by the other's model, over a few splits.

    The new edition has learnt these very rows and the last one has not: a smoke alarm that only a
    broken edition trips, not evidence of quality (that is what judging on the next day's rows is
    for). What is not finite counts as zero.
    """
    with np.errstate(invalid="ignore"):
        product_ND = np.nan_to_num(_unit(user_ND) * _unit(item_ND), nan=0.0, posinf=0.0, neginf=0.0)
    rng, aucs = np.random.default_rng(seed), []
    for _ in range(SPLITS):
        order = rng.permutation(len(labels_N))
        order = order[np.argsort(labels_N[order], kind="stable")]
        fold_N = np.empty(len(labels_N), np.int64)
        fold_N[order] = np.arange(len(labels_N)) % 2  # each label halved
        aucs.append(_cross_fitted_auc(product_ND, labels_N, fold_N))
    return float(np.mean(aucs))


def _cross_fitted_auc(features_ND: np.ndarray, labels_N: np.ndarray, fold_N: np.ndarray) -> float:
    """Mean of the two folds' ROC-AUC under the other's model; a fold in which a class is missing
    counts 0.5.
    """
    features_ND, aucs = features_ND.astype(np.float64), []
    for learn in (fold_N == 1, fold_N == 0):
        if min(len(np.unique(labels_N[learn])), len(np.unique(labels_N[~learn]))) < 2:
            aucs.append(0.5)
            continue
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500)).fit(
            features_ND[learn], labels_N[learn]
        )
        aucs.append(
            float(roc_auc_score(labels_N[~learn], model.decision_function(features_ND[~learn])))
        )
    return float(np.mean(aucs))


def _unit(vectors_ND: np.ndarray) -> np.ndarray:
    """In float64; a vector of zeros stays one."""
    vectors_ND = vectors_ND.astype(np.float64)
    norms = np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    return np.asarray(vectors_ND / np.where(norms > 0, norms, 1.0))


def _sample(n: int, most: int, rng: np.random.Generator) -> np.ndarray:
    """Row numbers, ascending, without repetition."""
    return np.arange(n) if n <= most else np.sort(rng.choice(n, most, replace=False))
