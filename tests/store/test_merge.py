"""The merge of a day: what a vector rests on, and when its entity was seen. By hand, and against a
slow twin in plain Python over random days.

A day's rows here are (basis, days ago that the entity was seen, vector) by entity.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.blobs import Layout
from headwater.config import PolicyConfig
from headwater.embeddings import NEVER_SEEN
from headwater.embeddings.snapshot import Basis, basis_of, day_number
from headwater.ids import key_of
from headwater.lifecycle.monitoring import daily_sample
from headwater.store import Edition, MergeRule, Provenance, compose, read_daily, write_daily
from headwater.store.editions import POLICY
from headwater.store.rewrite import compact
from shop import after, space_of, vectors_of

SEEN, CONTENT, INFERRED = Basis.SEEN, Basis.CONTENT, Basis.INFERRED
EXPIRE = 3
POLICIES: list[dict[str, Any]] = [
    {"kind": "ema", "weight": 0.8},
    {"kind": "ema", "half_life_days": 2.0},
    {"kind": "latest"},
    {"kind": "mean", "k": 3},
    {"kind": "last", "k": 3},
    {"kind": "ema", "weight": 0.5, "renormalize": True},
    {"kind": "ema", "weight": 0.5, "warm_up_days": 3},
    {"kind": "mean", "k": 2, "warm_up_days": 3},
]
Row = tuple[Basis, int, tuple[float, float]]
Rows = Mapping[int, Row]


class Days:
    """Merges day upon day, without a catalog."""

    def __init__(self, root: Path, policy: dict[str, Any], bucket_rows: int = 4) -> None:
        config: PolicyConfig = POLICY.validate_python(policy)
        self.layout, self.rule = Layout(root), MergeRule(config, EXPIRE, "float32", bucket_rows)
        self.edition: Edition | None = None
        self.fresh = 0

    def merge(self, n: int, rows: Rows) -> None:
        vectors = [vector for _, _, vector in rows.values()]
        plain = vectors_of(list(rows), vectors, after(n), space=space_of())
        told = [rows[value] for value in plain.ids]
        seen = np.array([day_number(after(n - ago)) for _, ago, _ in told], np.int32)
        basis = np.array([basis for basis, _, _ in told], np.uint8)
        snapshot = replace(plain, seen_N=seen, basis_N=basis)
        folder = self.layout.daily(after(n), "ctr", "0")
        write_daily(folder, after(n), [snapshot], self.rule.bucket_rows)
        daily = read_daily(folder, after(n))
        assert daily is not None
        made = compose(self.layout, after(n), self.edition, daily, self.rule, Provenance())
        self.edition, self.fresh = made.edition, made.merged["ctr_user"].fresh
        self.daily = daily["ctr_user"]

    def compact(self) -> None:
        assert self.edition is not None
        self.edition = compact(self.layout, self.edition, self.rule.bucket_rows)

    def __contains__(self, value: int) -> bool:
        assert self.edition is not None
        return key_of(value) in self.edition.part("ctr_user").keys

    def _row(self, value: int) -> int:
        assert self.edition is not None
        keys = self.edition.part("ctr_user").keys.tolist()
        return keys.index(key_of(value))

    def __len__(self) -> int:
        assert self.edition is not None
        return self.edition.part("ctr_user").rows

    def basis(self, value: int) -> Basis:
        """What is kept of it rests on."""
        assert self.edition is not None
        _, steps = self.edition.part("ctr_user").gather(np.array([self._row(value)]))
        return Basis(int(basis_of(steps)[0]))

    def seen(self, value: int) -> int:
        """The day as of which it is kept."""
        assert self.edition is not None
        seen = self.edition.part("ctr_user").column("seen")[self._row(value)]
        return int(seen) - day_number(after(0))

    def served(self, value: int) -> np.ndarray:
        """A vector or, under a policy that serves sequences, some."""
        assert self.edition is not None
        keys = np.array([key_of(value)], np.uint64)
        found = self.edition.lookup("ctr_user", keys, self.edition.day)
        assert found.found_N.all()
        assert (found.age_days_N[0] == NEVER_SEEN) == (self.basis(value) != SEEN)
        if found.sequence_NKD is None or found.steps_N is None:
            return found.vectors_ND[0]
        return found.sequence_NKD[0, : found.steps_N[0]]


# ---- by hand -------------------------------------------------------------------------------------

EMA = {"kind": "ema", "weight": 0.5}


def test_gates_look_at_those_who_were_seen_today(tmp_path) -> None:
    days = Days(tmp_path, EMA)
    rows = {1: (SEEN, 0, (1, 0)), 2: (SEEN, 1, (0, 1)), 3: (INFERRED, 0, (1, 1))}
    days.merge(2, rows | {4: (CONTENT, 0, (1, 2)), 5: (SEEN, 0, (2, 1))})
    fresh = daily_sample(days.daily, None, 100)
    assert sorted(fresh.ids) == [1, 5]
    assert len(fresh) == days.fresh
    (row,) = np.flatnonzero(fresh.keys_N == key_of(5))
    np.testing.assert_array_equal(fresh.vectors_ND[row], [2, 1])


def test_a_sight_that_the_edition_knows_neither_renews_the_expiry_nor_is_averaged_again(
    tmp_path,
) -> None:
    days = Days(tmp_path, EMA)
    days.merge(0, {1: (SEEN, 0, (1, 0))})
    assert (days.fresh, days.seen(1)) == (1, 0)
    for n in (1, 2, 3):
        days.merge(n, {1: (SEEN, n, (9, 9)), 2: (SEEN, 0, (0, 1))})
        assert (days.fresh, days.seen(1)) == (1, 0)  # of the two, one was seen today
        assert days.served(1).tolist() == [1, 0]
    days.merge(4, {1: (SEEN, 4, (9, 9)), 2: (SEEN, 0, (0, 1))})
    assert 1 not in days


def test_of_two_sights_the_older_adds_nothing(tmp_path) -> None:
    days = Days(tmp_path, EMA)
    days.merge(2, {1: (SEEN, 0, (1, 0))})
    days.merge(3, {1: (SEEN, 2, (9, 9))})
    assert (days.seen(1), days.served(1).tolist()) == (2, [1, 0])


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({"kind": "ema", "half_life_days": 1.0}, 1 / 4 + 5 * 3 / 4),  # two days apart, not three
        ({"kind": "ema", "weight": 0.5}, 3),
        ({"kind": "mean", "k": 2}, 3),
        ({"kind": "latest"}, 5),
    ],
)
def test_a_sight_told_late_is_averaged_with_the_gap_between_the_days_of_the_sights(
    tmp_path, policy, expected
) -> None:
    days = Days(tmp_path, policy)
    days.merge(0, {1: (SEEN, 0, (1, 0))})
    days.merge(3, {1: (SEEN, 1, (5, 0))})
    assert days.fresh == 0
    assert days.seen(1) == 2
    np.testing.assert_allclose(days.served(1), [expected, 0], rtol=1e-6)
    days.merge(5, {})
    assert days.seen(1) == 2
    days.merge(6, {})  # three days after it was told, four after it was seen
    assert 1 not in days


def test_a_strangers_sight_told_late_counts_as_of_its_day_and_too_late_not_at_all(
    tmp_path,
) -> None:
    days = Days(tmp_path, EMA)
    days.merge(9, {1: (SEEN, 3, (1, 0)), 2: (SEEN, 4, (1, 0)), 3: (CONTENT, 4, (1, 0))})
    assert (days.seen(1), days.fresh, len(days)) == (6, 0, 1)
    days.merge(10, {})
    assert len(days) == 0


@pytest.mark.parametrize("basis", [CONTENT, INFERRED])
@pytest.mark.parametrize("policy", POLICIES[:5])
def test_a_stand_in_is_marked_and_forgotten_at_first_sight(tmp_path, policy, basis) -> None:
    days = Days(tmp_path, policy)
    days.merge(0, {1: (basis, 0, (1, 0))})
    days.merge(1, {1: (basis, 0, (3, 0))})
    assert (days.basis(1), days.fresh) == (basis, 0)
    assert np.atleast_2d(days.served(1)).tolist() == [[3, 0]]  # the newest, and no average
    days.merge(2, {})
    assert days.basis(1) == basis  # carried with its mark
    days.compact()
    assert days.basis(1) == basis
    days.merge(3, {1: (SEEN, 0, (7, 0))})
    assert (days.basis(1), days.fresh, days.seen(1)) == (SEEN, 1, 3)
    assert np.atleast_2d(days.served(1)).tolist() == [[7, 0]]


@pytest.mark.parametrize("basis", [CONTENT, INFERRED])
def test_a_sight_told_late_takes_the_place_of_a_newer_stand_in(tmp_path, basis) -> None:
    days = Days(tmp_path, EMA)
    days.merge(4, {1: (basis, 0, (1, 0))})
    days.merge(5, {1: (SEEN, 2, (7, 0))})
    assert (days.basis(1), days.seen(1), days.served(1).tolist()) == (SEEN, 3, [7, 0])


@pytest.mark.parametrize("basis", [CONTENT, INFERRED])
@pytest.mark.parametrize("policy", POLICIES[:5])
def test_a_stand_in_for_who_was_seen_waits_until_that_has_expired(tmp_path, policy, basis) -> None:
    days = Days(tmp_path, policy)
    days.merge(0, {1: (SEEN, 0, (1, 0))})
    for n in (1, 2, 3):
        days.merge(n, {1: (basis, 0, (9, 9))})
        assert (days.basis(1), days.seen(1)) == (SEEN, 0)
        assert np.atleast_2d(days.served(1)).tolist() == [[1, 0]]
    days.merge(4, {1: (basis, 0, (9, 9))})
    assert (days.basis(1), days.seen(1)) == (basis, 4)
    assert np.atleast_2d(days.served(1)).tolist() == [[9, 9]]  # nothing of then is kept
    days.merge(5, {1: (SEEN, 0, (2, 0))})
    assert (days.basis(1), np.atleast_2d(days.served(1)).tolist()) == (SEEN, [[2, 0]])


def test_no_number_of_steps_reads_as_inferred(tmp_path) -> None:
    days = Days(tmp_path, EMA)
    for n in range(258):
        days.merge(n, {1: (SEEN, 0, (1, 0))})
        if n % 100 == 99:
            days.compact()  # an index holds so many segments
    assert days.basis(1) == SEEN


# ---- against a slow twin -------------------------------------------------------------------------


@dataclass
class Kept:
    """What is known of an entity: as of which day, resting on what, and the sights that count."""

    basis: Basis
    seen: int
    sights: list[tuple[int, np.ndarray]] = field(default_factory=list)


class Twin:
    """The rules as sentences, for one entity after the other."""

    def __init__(self, policy: dict[str, Any]) -> None:
        self.policy = policy
        self.kept: dict[int, Kept] = {}

    def merge(self, n: int, rows: Rows) -> None:
        for value in {*self.kept, *rows}:
            now = self._after(n, self.kept.get(value), rows.get(value))
            if now is None:
                self.kept.pop(value, None)
            else:
                self.kept[value] = now

    def _after(self, n: int, kept: Kept | None, row: Row | None) -> Kept | None:
        expired = kept is not None and n - kept.seen > EXPIRE
        carried = None if expired else kept
        if row is None:
            return carried
        basis, ago, vector = row
        seen = n - ago
        if ago > EXPIRE:  # too old to be taken in
            return carried
        sight = (seen, np.array(vector, np.float64))
        if basis != SEEN:
            stands_in = carried is None or carried.basis != SEEN
            return Kept(basis, seen, [sight]) if stands_in else carried
        if kept is None or kept.basis != SEEN:
            return Kept(SEEN, seen, [sight])
        if seen <= kept.seen:  # it is known
            return carried
        if n < self.policy.get("warm_up_days", 0):  # nothing is remembered
            return Kept(SEEN, seen, [sight])
        # Who is seen again on the very day on which it would be dropped goes on.
        return Kept(SEEN, seen, [*kept.sights, sight])

    def served(self, value: int) -> np.ndarray:
        policy, sights = self.policy, self.kept[value].sights
        vectors = [vector for _, vector in sights]
        if policy["kind"] == "latest":
            return vectors[-1]
        if policy["kind"] == "mean":
            return np.mean(vectors[-policy["k"] :], axis=0)
        if policy["kind"] == "last":
            return np.array(vectors[: -policy["k"] - 1 : -1])
        average = self._unit(vectors[0])
        for (before, _), (seen, vector) in itertools.pairwise(sights):
            weight = policy.get("weight")
            if "half_life_days" in policy:
                weight = 2 ** (-(seen - before) / policy["half_life_days"])
            average = self._unit(weight * average + (1 - weight) * vector)
        return average

    def _unit(self, vector: np.ndarray) -> np.ndarray:
        if not self.policy.get("renormalize"):
            return vector
        return vector / max(float(np.linalg.norm(vector)), 1e-12)


NUMBERS = st.sampled_from([-4.0, -1.5, -0.25, 0.5, 1.0, 2.0, 3.25])
ROWS = st.tuples(
    st.sampled_from([SEEN, SEEN, SEEN, CONTENT, INFERRED]),
    st.sampled_from([0, 0, 0, 1, 2, 3, 4, 5]),
    st.tuples(NUMBERS, NUMBERS),
)
ENTITIES = 7
DAYS = st.lists(
    st.tuples(
        st.sampled_from([1, 1, 1, 2, 3, 5]),  # days after the last one
        st.dictionaries(st.integers(1, ENTITIES), ROWS, max_size=ENTITIES),
        st.sampled_from([False, False, True]),  # compacted afterwards
    ),
    min_size=2,
    max_size=9,
)


@pytest.mark.parametrize("policy", POLICIES, ids=str)
@settings(max_examples=40, deadline=None)
@given(days=DAYS, bucket_rows=st.sampled_from([1, 3, 64]))
def test_the_merge_does_what_the_slow_twin_does(policy, days, bucket_rows) -> None:
    with tempfile.TemporaryDirectory() as root:
        ours, twin, n = Days(Path(root), policy, bucket_rows), Twin(policy), -1
        for gap, rows, compacted in days:
            n += gap
            ours.merge(n, rows)
            twin.merge(n, rows)
            if compacted:
                ours.compact()
            assert len(ours) == len(twin.kept)
            told = [(basis, ago) for basis, ago, _ in rows.values()]
            assert ours.fresh == told.count((SEEN, 0))
            for value, kept in twin.kept.items():
                assert (ours.basis(value), ours.seen(value)) == (kept.basis, kept.seen)
                np.testing.assert_allclose(
                    ours.served(value), twin.served(value), rtol=1e-4, atol=1e-5
                )
