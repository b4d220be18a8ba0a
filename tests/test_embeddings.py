"""Snapshots, aggregation, gates: hand numbers and properties."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.config import EmaPolicy, GateConfig, LatestPolicy
from headwater.embeddings import Snapshot, Space, aggregate, check_snapshot
from headwater.embeddings.gates import effective_rank
from headwater.embeddings.snapshot import day_number
from headwater.errors import SnapshotError, SpaceMismatch

D0 = dt.date(2025, 1, 1)
SPACE = Space("ctr", "a" * 32, 2, D0)


def snap(vectors: dict[int, list[float]], day: dt.date = D0, space: Space = SPACE, seen: dt.date | None = None) -> Snapshot:
    keys = sorted(vectors)
    return Snapshot(space, "user", day, np.array(keys, np.uint64), np.array([vectors[k] for k in keys], np.float32).reshape(-1, space.width),
                    np.full(len(keys), day_number(seen or day), np.int32), pl.Series(keys, dtype=pl.Int64))  # fmt: skip


def after(n: int) -> dt.date:
    return D0 + dt.timedelta(days=n)


def test_one_step_by_hand() -> None:
    now = aggregate(snap({1: [1, 0], 2: [0, 1]}), snap({2: [1, 1], 3: [2, 2]}, after(1)), EmaPolicy(weight=0.8), after(1), 90)
    assert now.keys_N.tolist() == [1, 2, 3]
    np.testing.assert_allclose(now.vectors_ND, [[1, 0], [0.2, 1.0], [2, 2]], rtol=1e-6)  # carried, averaged, first sight
    assert (now.seen_N - day_number(D0)).tolist() == [0, 1, 1]
    latest = aggregate(snap({2: [0, 1]}), snap({2: [1, 1]}, after(1)), LatestPolicy(), after(1), 90)
    assert latest.vectors_ND.tolist() == [[1, 1]]


def test_a_young_space_does_not_remember() -> None:
    policy = EmaPolicy(weight=0.5, warm_up_days=2)
    young = aggregate(snap({1: [0, 0]}), snap({1: [1, 1]}, after(1)), policy, after(1), 90)
    assert young.vectors_ND.tolist() == [[1, 1]]
    grown = aggregate(young, snap({1: [3, 3]}, after(2)), policy, after(2), 90)
    assert grown.vectors_ND.tolist() == [[2, 2]]


def test_an_entity_expires_after_its_days_and_not_before() -> None:
    before = snap({1: [1, 0]})
    assert len(aggregate(before, snap({}, after(3)), EmaPolicy(), after(3), expire_days=3)) == 1
    assert len(aggregate(before, snap({}, after(4)), EmaPolicy(), after(4), expire_days=3)) == 0


def test_renormalised_averages_have_length_one() -> None:
    now = aggregate(snap({1: [1, 0]}), snap({1: [0, 1]}, after(1)), EmaPolicy(weight=0.5, renormalize=True), after(1), 90)
    np.testing.assert_allclose(np.linalg.norm(now.vectors_ND, axis=1), [1], rtol=1e-6)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.floats(-5, 5, width=32), st.floats(-5, 5, width=32)), min_size=1, max_size=6), st.floats(0, 0.99))
def test_averages_stay_in_the_hull_and_constants_stay_put(days, weight) -> None:
    policy = EmaPolicy(weight=weight)
    published = snap({1: list(days[0])})
    for n, vector in enumerate(days[1:], start=1):
        published = aggregate(published, snap({1: list(vector)}, after(n)), policy, after(n), 90)
    for axis in range(2):
        values = [vector[axis] for vector in days]
        assert min(values) - 1e-5 <= published.vectors_ND[0, axis] <= max(values) + 1e-5
    constant = aggregate(snap({1: list(days[0])}), snap({1: list(days[0])}, after(1)), policy, after(1), 90)
    assert constant.vectors_ND.tolist() == snap({1: list(days[0])}).vectors_ND.tolist()


def test_spaces_never_mix() -> None:
    other = Space("ctr", "b" * 32, 2, D0)
    with pytest.raises(SpaceMismatch, match="2 spaces may not meet"):
        aggregate(snap({1: [1, 0]}), snap({1: [1, 0]}, after(1), other), EmaPolicy(), after(1), 90)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keys_N": np.array([2, 1], np.uint64)}, "ascending and unique"),
        ({"keys_N": np.array([1, 1], np.uint64)}, "ascending and unique"),
        ({"keys_N": np.array([1, 2], np.int64)}, "should be uint64"),
        ({"vectors_ND": np.array([[1, np.nan], [0, 1]], np.float32)}, "1 of 2 vectors are not finite"),
        ({"vectors_ND": np.zeros((2, 3), np.float32)}, r"should be float32 \(2, 2\)"),
        ({"seen_N": np.full(2, day_number(after(1)), np.int32)}, "later day"),
    ],
)
def test_a_snapshot_is_valid_from_birth(change, message) -> None:
    parts = {"keys_N": np.array([1, 2], np.uint64), "vectors_ND": np.eye(2, dtype=np.float32), "seen_N": np.full(2, day_number(D0), np.int32)}
    with pytest.raises(SnapshotError, match=message):
        Snapshot(SPACE, "user", D0, ids=pl.Series([1, 2]), **(parts | change))


def test_a_snapshot_is_read_only() -> None:
    with pytest.raises(ValueError, match="read-only"):
        snap({1: [1, 0]}).vectors_ND[0, 0] = 5


def many(scale: float = 1.0, n: int = 200) -> dict[int, list[float]]:
    return {k: (scale * v).tolist() for k, v in enumerate(np.random.default_rng(0).standard_normal((n, 2)), start=1)}


@pytest.mark.parametrize(
    ("now", "check"),
    [
        (snap(many(100.0)), "largest norm"),
        (snap(many(1e-6)), "median norm"),
        (snap({k: [k / 200, 0.0] for k in range(1, 201)}), "effective rank"),
        (snap(many(n=20)), "rows against the last edition"),
    ],
)
def test_every_gate_trips_on_its_fault(now, check) -> None:
    failed = [result.check for result in check_snapshot(now, snap(many()), GateConfig(min_effective_rank=1.5)) if not result.passed]
    assert failed == [check]


def test_gates_leave_a_healthy_day_alone() -> None:
    results = check_snapshot(snap(many()), snap(many()), GateConfig(min_effective_rank=1.5))
    assert len(results) == 4
    assert all(result.passed for result in results)


def test_effective_rank_by_hand() -> None:
    assert effective_rank(np.array([[1, 0], [-1, 0], [0, 1], [0, -1]], float)) == pytest.approx(2)
    assert effective_rank(np.ones((5, 3))) == 1
