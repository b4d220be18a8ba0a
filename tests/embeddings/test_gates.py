"""The gates of an edition: each trips on its planted fault and on no other, a healthy day trips
none; figures by hand.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from headwater.config import GateConfig
from headwater.embeddings import Snapshot, Space
from headwater.embeddings.gates.checks import check_evidence
from headwater.embeddings.gates.classifiers import auc_error, domain_auc, probe_auc
from headwater.embeddings.gates.cohorts import cosine_by_cohort, cosine_to
from headwater.embeddings.gates.evidence import Evidence, Probe
from headwater.embeddings.gates.figures import duplicate_share, effective_rank, neighbour_overlap
from headwater.embeddings.snapshot import day_number
from headwater.errors import SpaceMismatch

D1 = dt.date(2025, 1, 9)
D2 = dt.date(2025, 1, 10)
WIDTH = 20
USERS = 130  # 1-70 were seen on both days, 71-100 earlier and today, 101-130 today only
CONTINUING, RETURNING = slice(0, 70), slice(70, 100)
SCALES = np.r_[
    np.linspace(1.0, 0.3, WIDTH - 1), 0.02
]  # of each direction; the last is nearly unused


def snap(vectors_ND: Any, keys: Any = None, day: dt.date = D1, seen: Any = None) -> Snapshot:
    """Keys from 1 unless given; the space is as wide as the vectors."""
    vectors = np.asarray(vectors_ND, np.float32)
    keys = np.arange(1, len(vectors) + 1) if keys is None else keys
    days = (
        np.full(len(vectors), day_number(day))
        if seen is None
        else np.array([day_number(d) for d in seen])
    )
    space = Space("ctr", "a" * 32, vectors.shape[1], dt.date(2025, 1, 1))
    return Snapshot(
        space,
        "user",
        day,
        np.asarray(keys, np.uint64),
        vectors,
        days.astype(np.int32),
        pl.Series(np.asarray(keys, np.int64)),
    )


def same(vectors_ND: np.ndarray) -> np.ndarray:
    return vectors_ND


def evidence(everything=same, now=same, fresh=same, probe=same, **changes: Any) -> Evidence:
    """A healthy day of a small, noisy factory, with faults planted in all its vectors, or in one
    snapshot's, or in the counts.
    """
    rng = np.random.default_rng(5)
    centre = np.r_[2.5, np.zeros(WIDTH - 1)]
    base_ND, moved_ND, again_ND = SCALES * rng.standard_normal((3, USERS, WIDTH))
    before_ND, fresh_ND = (
        everything(centre + base_ND + 0.3 * moved_ND),
        everything(centre + base_ND + 0.3 * again_ND),
    )
    now_ND = np.where(np.arange(USERS)[:, None] < 100, 0.8 * before_ND + 0.2 * fresh_ND, fresh_ND)
    seen = [D1] * 70 + [D1 - dt.timedelta(days=3)] * 30
    whole = Evidence(
        "ctr_user",
        snap(now(now_ND), day=D2),
        snap(fresh(fresh_ND), day=D2),
        snap(before_ND[:100], day=D1, seen=seen),
        rows=USERS,
        fresh_rows=USERS,
        rows_before=(100, 90, 80),
        fresh_before=(95, 130, 90),
        coverage=0.85,
        coverage_before=(0.8, 0.9),
        not_finite=0,
        largest_norm=2.0,
        young=False,
        probe=probe_of(probe),
    )
    return replace(whole, **changes)


def probe_of(fault: Callable[[np.ndarray], np.ndarray] = same, rows: int = 500) -> Probe:
    """Clicks follow the cosine of user and item; each edition knows the vectors up to
    some noise.
    """
    rng = np.random.default_rng(1)
    user, item = rng.standard_normal((2, rows, WIDTH))
    labels = (rng.random(rows) < 1 / (1 + np.exp(1 - (user * item).sum(axis=1)))).astype(float)
    noise = 0.5 * rng.standard_normal((4, rows, WIDTH))
    return Probe(labels, fault(user + noise[0]), item + noise[1], user + noise[2], item + noise[3])


def shuffled(rows: slice) -> Callable[[np.ndarray], np.ndarray]:
    """The vectors of these rows dealt to one another."""

    def fault(vectors_ND: np.ndarray) -> np.ndarray:
        vectors = vectors_ND.copy()
        vectors[rows] = np.random.default_rng(9).permutation(vectors[rows])
        return vectors

    return fault


def decentred(vectors_ND: np.ndarray) -> np.ndarray:
    """The common direction, on which cosines of strangers rest, taken away."""
    return vectors_ND - np.r_[2.5, np.zeros(WIDTH - 1)]


def only(directions: slice) -> Callable[[np.ndarray], np.ndarray]:
    kept = np.zeros(WIDTH)
    kept[directions] = 1
    return lambda vectors_ND: vectors_ND * kept


FAULTS: dict[str, Evidence] = {
    "coverage": evidence(coverage=0.4),
    "rows": evidence(rows=40),
    "fresh rows": evidence(fresh_rows=20),
    "not finite": evidence(not_finite=1),
    "largest norm": evidence(largest_norm=30.0),
    "median norm": evidence(everything=lambda v: v * 1e-5),
    "duplicates": evidence(
        everything=lambda v: v[np.arange(USERS) - np.arange(USERS) % 2]
    ),  # every even row is its neighbour's copy
    "effective rank": evidence(
        everything=lambda v: np.hstack([v[:, :1], 0.1 * v[:, 1:2], np.zeros((USERS, WIDTH - 2))])
    ),
    "probe AUC": evidence(probe=shuffled(slice(None))),
    "effective rank share": evidence(now=only(slice(0, 8))),
    "cosine of continuing": evidence(everything=decentred, fresh=shuffled(CONTINUING)),
    "cosine of returning": evidence(everything=decentred, fresh=shuffled(RETURNING)),
    "centre gap of new": evidence(
        fresh=lambda v: np.where(np.arange(USERS)[:, None] >= 100, decentred(v), v)
    ),
    "domain AUC": evidence(now=lambda v: v + 0.5 * np.eye(WIDTH)[-1]),
    "neighbour overlap": evidence(now=shuffled(slice(0, 100))),
}
DRIFT = list(FAULTS)[-6:]


def failed(of: Evidence, gates: GateConfig | None = None) -> list[str]:
    return [
        result.check
        for result in check_evidence(of, gates or GateConfig(), seed=0)
        if not result.passed
    ]


@pytest.mark.parametrize("check", FAULTS)
def test_every_gate_trips_on_its_fault_alone(check) -> None:
    assert failed(FAULTS[check]) == [check]
    result = next(
        result for result in check_evidence(FAULTS[check], GateConfig(), 0) if result.check == check
    )
    assert result.snapshot == "ctr_user"
    assert result.figure is not None
    assert result.threshold is not None
    assert result.reason not in ("", "within bounds")


def test_a_healthy_day_trips_none_and_every_gate_has_its_fault() -> None:
    results = check_evidence(evidence(), GateConfig(), 0)
    assert [result.check for result in results] == list(FAULTS)
    assert all(
        result.passed and result.figure is not None and result.reason == "within bounds"
        for result in results
    )


def test_counts_are_held_against_the_median_of_the_last_editions() -> None:
    figures = {
        result.check: result.figure for result in check_evidence(evidence(), GateConfig(), 0)
    }
    assert figures["rows"] == pytest.approx(130 / 90)
    assert figures["fresh rows"] == pytest.approx(130 / 95)
    assert figures["coverage"] == pytest.approx(0.85 / 0.85)
    assert failed(evidence(), GateConfig(min_rows_share=1.45)) == ["rows"]
    assert failed(evidence(), GateConfig(min_rows_share=1.44)) == []


@pytest.mark.parametrize("check", DRIFT)
def test_a_young_space_may_drift_and_says_so(check) -> None:
    old = {result.check: result for result in check_evidence(FAULTS[check], GateConfig(), 0)}
    young = {
        result.check: result
        for result in check_evidence(replace(FAULTS[check], young=True), GateConfig(), 0)
    }
    assert young[check].passed
    assert young[check].figure == old[check].figure
    assert young[check].reason == f"not enforced while the space warms up: {old[check].reason}"


@pytest.mark.parametrize("check", [check for check in FAULTS if check not in DRIFT])
def test_a_young_space_may_not_be_broken(check) -> None:
    assert failed(replace(FAULTS[check], young=True)) == [check]


def test_on_the_first_day_nothing_is_compared() -> None:
    probe = replace(probe_of(), before_user_ND=None, before_item_ND=None)
    first = replace(
        evidence(),
        before=None,
        rows_before=(),
        fresh_before=(),
        coverage=None,
        coverage_before=(),
        probe=probe,
    )
    results = {result.check: result for result in check_evidence(first, GateConfig(), 0)}
    assert list(results) == list(FAULTS)
    assert all(result.passed for result in results.values())
    absolute = [
        "not finite",
        "largest norm",
        "median norm",
        "duplicates",
        "effective rank",
        "probe AUC",
    ]
    assert [check for check, result in results.items() if result.figure is not None] == absolute
    assert all(
        results[check].reason == "not applicable: no last edition"
        for check in [*DRIFT, "coverage", "rows", "fresh rows", "probe AUC"]
    )


@pytest.mark.parametrize("n", range(6))
@pytest.mark.parametrize("last", [None, 0, 1, 5])
def test_tiny_inputs_do_not_crash(n, last) -> None:
    vectors = np.random.default_rng(n).standard_normal((5, 3))
    probe = Probe(
        np.arange(n) % 2.0,
        vectors[:n],
        vectors[:n],
        None if last is None else vectors[:n],
        None if last is None else vectors[:n],
    )
    before = None if last is None else snap(vectors[:last])
    tiny = Evidence(
        "ctr_user",
        snap(vectors[:n], day=D2),
        snap(vectors[:n], day=D2),
        before,
        n,
        n,
        () if last is None else (last,),
        () if last is None else (last,),
        None,
        (),
        0,
        1.0,
        False,
        probe,
    )
    results = check_evidence(tiny, GateConfig(), 0)
    assert [result.check for result in results] == list(FAULTS)
    assert [result.check for result in results if not result.passed] == (
        ["rows"] if last and n / last < 0.5 else []
    )
    assert [
        result.check
        for result in results
        if result.figure is None and "not applicable" not in result.reason
    ] == []
    json.dumps([result.as_json() for result in results], allow_nan=False)


def test_results_repeat_with_the_seed() -> None:
    assert check_evidence(evidence(), GateConfig(), 3) == check_evidence(
        evidence(), GateConfig(), 3
    )
    figures = [
        {result.check: result.figure for result in check_evidence(evidence(), GateConfig(), seed)}
        for seed in (3, 4)
    ]
    assert figures[0]["probe AUC"] != figures[1]["probe AUC"]


def test_effective_rank_by_hand() -> None:
    assert effective_rank(np.array([[1, 0], [-1, 0], [0, 1], [0, -1]], float)) == pytest.approx(2)
    assert effective_rank(np.array([[2, 0], [-2, 0], [0, 1], [0, -1]], float)) == pytest.approx(
        3 / 2 ** (2 / 3)
    )  # singular values 2 : 1
    assert effective_rank(np.ones((5, 3))) == 1


def test_cohorts_by_hand() -> None:
    before = snap([[1, 0], [0, 2]], keys=[1, 2], seen=[D1, D1 - dt.timedelta(days=1)])
    fresh = snap([[0.6, 0.8], [0, -3], [5, 5], [0, 0]], keys=[1, 2, 3, 4], day=D2)
    cohorts = cosine_by_cohort(before, fresh)
    continuing, returning, new = cohorts["continuing"], cohorts["returning"], cohorts["new"]
    assert (continuing.rows, returning.rows, new.rows) == (1, 1, 2)
    assert continuing.to_last == pytest.approx(0.6)
    assert continuing.to_centre == pytest.approx(1.4 / np.sqrt(2))  # the centre is (1, 1) / sqrt(2)
    assert (returning.to_last, returning.to_last_p10) == (-1, -1)
    assert new.to_last is None
    assert new.to_centre == pytest.approx(0.5)  # of 1 and, for a vector of zeros, 0
    np.testing.assert_allclose(cosine_to(before, fresh), [0.6, -1], rtol=1e-6)


def test_domain_auc_of_the_same_and_of_shifted_vectors() -> None:
    vectors = np.random.default_rng(0).standard_normal((200, 4))
    shifted = vectors + 20 * np.eye(4)[1]
    assert (
        domain_auc(snap(vectors), snap(vectors), 0) == 0.5
    )  # exactly: each vector is judged twice, once as either
    assert domain_auc(snap(vectors), snap(shifted), 0) == 1
    assert domain_auc(
        snap(vectors[:100]), snap(vectors[100:], keys=range(101, 201)), 0
    ) == pytest.approx(0.5, abs=0.12)
    one_sigma = domain_auc(snap(vectors), snap(vectors + np.eye(4)[1]), 0)
    assert one_sigma == pytest.approx(0.76, abs=0.05)  # Phi(1 / sqrt(2)) = 0.760


def test_an_entity_is_never_on_both_sides_of_the_split() -> None:
    """With twins split, a model would learn of each vector the opposite of what its twin is: an AUC
    near 0.
    """
    vectors = 10 * np.eye(60)
    assert domain_auc(snap(vectors), snap(vectors), 0) == 0.5
    assert domain_auc(snap(vectors), snap(vectors, day=D2), 1) == 0.5


def test_neighbour_overlap_by_hand() -> None:
    def at(*degrees: float) -> Snapshot:
        radians = np.deg2rad(degrees)
        return snap(np.stack([np.cos(radians), np.sin(radians)], axis=1))

    before = at(0, 10, 90, 100)
    assert neighbour_overlap(before, before, 1, 0) == 1
    assert (
        neighbour_overlap(before, at(0, 90, 10, 100), 1, 0) == 0
    )  # the second and the third have changed places
    assert (
        neighbour_overlap(before, at(0, 10, 90, 25), 1, 0) == 0.75
    )  # the fourth is the second's neighbour now, not the third's
    assert (
        neighbour_overlap(before, at(0, 90, 10, 100), 2, 0) == 0.75
    )  # the two that have moved keep one of two
    assert neighbour_overlap(before, at(0, 90, 10, 100), 3, 0) == 1  # all of them
    assert neighbour_overlap(before, at(0, 90, 10, 100), 50, 0) == 1


def test_neighbours_are_sought_among_shared_entities_and_equal_vectors_keep_their_order() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((50, 8))
    assert (
        neighbour_overlap(snap(vectors[:40]), snap(7 * vectors[10:], keys=range(11, 51)), 5, 0) == 1
    )
    twins = np.repeat(rng.standard_normal((4, 8)), 50, axis=0)
    assert (
        neighbour_overlap(
            snap(twins), snap(twins @ np.linalg.qr(rng.standard_normal((8, 8)))[0]), 5, 0
        )
        == 1
    )
    permuted = neighbour_overlap(
        snap(rng.standard_normal((1001, 8))), snap(rng.standard_normal((1001, 8))), 100, 0
    )
    assert permuted == pytest.approx(0.1, abs=0.01)  # 100 of 1,000, by chance


def test_duplicates_by_hand() -> None:
    a, b, c = [1, 0], [0, 1], [1, 1]
    assert duplicate_share(snap([a, a, b, c, c, c])) == pytest.approx(5 / 6)
    assert duplicate_share(snap([a, b, c])) == 0
    assert duplicate_share(snap(np.zeros((0, 2)))) == 0


def test_probe_auc_by_hand() -> None:
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (2, 200, 1))
    user_ND, item_ND = signs * np.arange(1, 201)[:, None]  # their length does not matter
    labels_N = (signs[0] == signs[1])[:, 0].astype(float)
    assert probe_auc(labels_N, user_ND, item_ND, 0) == 1
    assert probe_auc(labels_N, user_ND, np.zeros_like(item_ND), 0) == 0.5  # every score is the same
    assert probe_auc(labels_N, user_ND, np.full_like(item_ND, np.nan), 0) == 0.5
    assert probe_auc(np.ones(200), user_ND, item_ND, 0) == 0.5  # one class only


def test_spaces_never_mix() -> None:
    now = snap(np.eye(2))
    other = replace(now, space=replace(now.space, lineage="b" * 32))
    for compare in (
        cosine_to,
        cosine_by_cohort,
        lambda a, b: domain_auc(a, b, 0),
        lambda a, b: neighbour_overlap(a, b, 1, 0),
    ):
        with pytest.raises(SpaceMismatch, match="2 spaces may not meet"):
            compare(now, other)


def test_the_probe_allows_what_chance_does_in_few_rows() -> None:
    generator = np.random.default_rng(0)
    for positive, negative in ((40, 160), (500, 500)):
        labels = np.repeat([1.0, 0.0], [positive, negative])
        aucs = [roc_auc_score(labels, generator.random(len(labels))) for _ in range(400)]
        assert auc_error(positive, negative) == pytest.approx(np.std(aucs), rel=0.15)
    probe = probe_of(rows=200)
    before = replace(evidence(), probe=probe)
    (found,) = [
        check for check in check_evidence(before, GateConfig(), 0) if check.check == "probe AUC"
    ]
    last = probe_auc(probe.labels_N, probe.before_user_ND, probe.before_item_ND, 0)
    positive = int(probe.labels_N.sum())
    assert found.threshold == pytest.approx(last - 0.05 - 2 * auc_error(positive, 200 - positive))
