"""What every policy keeps to, step by step and through the store. Shapes: N entities, D width, W of
a state.
"""

from __future__ import annotations

import datetime as dt
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from headwater.blobs import Layout
from headwater.config import LifecycleConfig, StoreConfig
from headwater.embeddings import NEVER_SEEN, Policy, Snapshot, Space, make_policy
from headwater.embeddings.snapshot import day_number
from headwater.ids import key_of
from headwater.store import Edition, MergeRule, Provenance, compose, read_daily, write_daily

FIRST = dt.date(2025, 1, 1)
WIDTH, EXPIRE_DAYS = 2, 3
SPACE = Space("ctr", "a" * 32, WIDTH, FIRST)
Day = Mapping[int, np.ndarray]  # the vectors [D] of the entities that are seen on a day


def after(n: int) -> dt.date:
    return FIRST + dt.timedelta(days=n)


def random_days(seed: int) -> list[Day]:
    """Six days of up to eight of thirteen entities each."""
    generator = np.random.default_rng(seed)
    days: list[Day] = []
    for _ in range(6):
        seen = generator.choice(13, generator.integers(0, 9), replace=False).tolist()
        vectors_ND = generator.uniform(-5, 5, (len(seen), WIDTH)).astype(np.float32)
        days.append(dict(zip(seen, vectors_ND, strict=True)))
    return days


def snapshot_of(vectors: Day, day: dt.date) -> Snapshot:
    """A day's fresh vectors, as an upstream gives them."""
    keys = {key_of(value): value for value in vectors}
    ordered = sorted(keys)
    rows = [vectors[keys[key]] for key in ordered]
    return Snapshot(
        SPACE,
        "user",
        day,
        np.array(ordered, np.uint64),
        np.array(rows, np.float32).reshape(-1, WIDTH),
        np.full(len(rows), day_number(day), np.int32),
        pl.Series("id", [keys[key] for key in ordered], dtype=pl.Int64),
    )


class PolicyContract(ABC):
    """Subclass it with `make`.

    A policy that scales its vectors says `in_hull = False`: what it serves need not lie between the
    least and the largest number that it was given. One whose formula is known overrides `twin`.
    """

    in_hull = True

    @abstractmethod
    def make(self) -> Mapping[str, Any]:
        """The policy as factory.yaml has it, such as `{"kind": "package.module:Class", "settings":
        {...}}`.
        """

    @property
    def lifecycle(self) -> LifecycleConfig:
        return LifecycleConfig.model_validate(
            {"policy": dict(self.make()), "expire_days": EXPIRE_DAYS}
        )

    @property
    def policy(self) -> Policy[Any]:
        return make_policy(self.lifecycle.policy)

    def twin(self, sights: Sequence[tuple[int, np.ndarray]]) -> np.ndarray:
        """What is served of an entity that was seen on these days: its vector [D], or its sequence
        [steps, D]. By default the policy itself, on this entity alone, day by day.
        """
        policy, states_1W, steps_1 = self.policy, np.zeros((1, 0)), np.zeros(1, np.uint8)
        for place, (day, vector_D) in enumerate(sights):
            today_1D = np.asarray(vector_D, np.float32)[None, :]
            gap = day - sights[place - 1][0] if place else 1
            if place == 0 or policy.young(SPACE, after(day)):
                states_1W, steps_1, gap = policy.unseen(today_1D), np.zeros(1, np.uint8), 1
            states_1W, steps_1 = policy.step(states_1W, steps_1, today_1D, np.array([float(gap)]))
        if policy.sequence:
            return np.asarray(states_1W.reshape(-1, WIDTH)[: max(1, int(steps_1[0]))])
        return np.asarray(policy.point(states_1W, steps_1)[0])

    def published(self, root: Path, days: Sequence[Day], bucket_rows: int = 2) -> list[Edition]:
        """The editions of these days, each merged with the one before it."""
        layout = Layout(root)
        rule = MergeRule.of(self.lifecycle, StoreConfig(bucket_rows=bucket_rows))
        editions: list[Edition] = []
        for n, vectors in enumerate(days):
            day = after(n)
            folder = layout.daily(day, "ctr", f"day-{n}")
            write_daily(folder, day, [snapshot_of(vectors, day)], bucket_rows)
            daily = read_daily(folder, day)
            assert daily is not None
            before = editions[-1] if editions else None
            composed = compose(layout, day, before, daily, rule, Provenance())
            editions.append(composed.edition)
        return editions

    @staticmethod
    def served(edition: Edition, value: int) -> np.ndarray | None:
        """What a consumer gets of an entity: one vector, or a sequence."""
        found = edition.lookup("ctr_user", np.array([key_of(value)], np.uint64), edition.day)
        if not found.found_N[0]:
            return None
        if found.sequence_NKD is None or found.steps_N is None:
            return np.asarray(found.vectors_ND[0])
        return np.asarray(found.sequence_NKD[0, : found.steps_N[0]])

    # ---- one step --------------------------------------------------------------------------------

    def test_states_and_steps_have_their_shapes_and_arguments_are_left_alone(self) -> None:
        policy, generator = self.policy, np.random.default_rng(0)
        states_NW = policy.unseen(np.zeros((5, WIDTH), np.float32))
        assert states_NW.shape == (5, policy.depth * WIDTH)
        assert states_NW.dtype == np.float32
        steps_N = np.zeros(5, np.uint8)
        for _ in range(300):  # more steps than a byte counts
            today_ND = generator.standard_normal((5, WIDTH)).astype(np.float32)
            given = (states_NW, steps_N, today_ND, np.ones(5))
            copies = [np.array(array) for array in given]
            states_NW, steps_N = policy.step(*given)
            for array, before in zip(given, copies, strict=True):
                np.testing.assert_array_equal(array, before)
            assert states_NW.shape == (5, policy.depth * WIDTH)
            assert states_NW.dtype == np.float32
            assert steps_N.dtype == np.uint8
            assert (steps_N >= 1).all()
        points_ND = policy.point(states_NW, steps_N)
        assert points_ND.shape == (5, WIDTH)
        assert points_ND.dtype == np.float32
        assert policy.point(states_NW[:0], steps_N[:0]).shape == (0, WIDTH)

    def test_entities_do_not_see_each_other(self) -> None:
        """Many at once, in another order, or alone: to the bit."""
        policy, generator = self.policy, np.random.default_rng(1)
        order = generator.permutation(20)
        whole = mixed = None
        for _ in range(4):
            today_ND = generator.standard_normal((20, WIDTH)).astype(np.float32)
            gaps_N = generator.integers(1, 5, 20).astype(float)
            whole = self._step(policy, whole, today_ND, gaps_N)
            mixed = self._step(policy, mixed, today_ND[order], gaps_N[order])
        assert whole is not None
        assert mixed is not None
        np.testing.assert_array_equal(whole[0][order], mixed[0])
        np.testing.assert_array_equal(whole[1][order], mixed[1])
        points_ND = policy.point(*whole)
        for n in range(20):
            alone_1D = policy.point(whole[0][n : n + 1], whole[1][n : n + 1])
            np.testing.assert_array_equal(points_ND[n : n + 1], alone_1D)

    @staticmethod
    def _step(
        policy: Policy[Any],
        before: tuple[np.ndarray, np.ndarray] | None,
        today_ND: np.ndarray,
        gaps_N: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        if before is None:
            before = policy.unseen(today_ND), np.zeros(len(today_ND), np.uint8)
        return policy.step(*before, today_ND, gaps_N)

    # ---- through the store -----------------------------------------------------------------------

    def test_a_first_sight_is_served_as_it_is(self, tmp_path: Path) -> None:
        vector_D = np.array([0.6, 0.8], np.float32)  # of length one, so that scaling changes little
        edition = self.published(tmp_path, [{7: vector_D}])[0]
        found = self.served(edition, 7)
        assert found is not None
        np.testing.assert_allclose(np.atleast_2d(found), [vector_D], rtol=1e-6)
        np.testing.assert_allclose(edition.points("ctr_user"), [vector_D], rtol=1e-6)

    @pytest.mark.parametrize("seed", range(8))
    def test_the_store_does_what_the_slow_twin_does(self, tmp_path: Path, seed: int) -> None:
        """Also for who was not seen for some days, expired, and came back."""
        days = random_days(seed)
        sights: dict[int, list[tuple[int, np.ndarray]]] = {}
        for n, edition in enumerate(self.published(tmp_path, days)):
            gone = [v for v, seen in sights.items() if n - seen[-1][0] > EXPIRE_DAYS]
            for value in set(gone) - set(days[n]):  # yesterday's edition still knew the others
                del sights[value]
            for value, vector_D in days[n].items():
                sights.setdefault(value, []).append((n, vector_D))
            assert edition.part("ctr_user").rows == len(sights)
            for value, seen in sights.items():
                found = self.served(edition, value)
                assert found is not None
                np.testing.assert_allclose(found, self.twin(seen), rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize("seed", range(3))
    def test_how_the_store_cuts_its_work_is_not_seen(self, tmp_path: Path, seed: int) -> None:
        days = random_days(seed)
        small = self.published(tmp_path / "small", days, bucket_rows=1)[-1]
        large = self.published(tmp_path / "large", days, bucket_rows=1000)[-1]
        mixed = [dict(list(day.items())[::-1]) for day in days]
        other = self.published(tmp_path / "mixed", mixed)[-1]
        assert small.digest == large.digest == other.digest
        for edition in (small, other):
            np.testing.assert_array_equal(edition.points("ctr_user"), large.points("ctr_user"))

    @pytest.mark.parametrize("seed", range(3))
    def test_what_is_served_lies_among_what_was_given_and_a_constant_stays_one(
        self, tmp_path: Path, seed: int
    ) -> None:
        if not self.in_hull:
            pytest.skip("this policy says that it scales its vectors")
        days = random_days(seed)
        same_D = np.array([1.25, -0.3], np.float32)
        same = [dict.fromkeys(day, same_D) for day in days]
        edition = self.published(tmp_path / "any", days)[-1]
        constant = self.published(tmp_path / "same", same)[-1]
        given: dict[int, list[np.ndarray]] = {}
        for day in days:
            for value, vector_D in day.items():
                given.setdefault(value, []).append(vector_D)
        for value, vectors in given.items():
            found = self.served(edition, value)
            if found is None:  # expired
                continue
            assert (np.atleast_2d(found) >= np.min(vectors, axis=0) - 1e-4).all()
            assert (np.atleast_2d(found) <= np.max(vectors, axis=0) + 1e-4).all()
            kept = self.served(constant, value)
            assert kept is not None
            assert (np.atleast_2d(kept) == same_D).all()

    def test_ages_are_those_of_the_last_sight(self, tmp_path: Path) -> None:
        one_D = np.ones(WIDTH, np.float32)
        edition = self.published(tmp_path, [{1: one_D, 2: one_D}, {2: one_D}, {2: one_D}])[-1]
        keys_N = np.array([key_of(1), key_of(2)], np.uint64)
        served = edition.lookup("ctr_user", keys_N, after(3))
        assert served.age_days_N.tolist() == [3, 1]
        assert NEVER_SEEN not in served.age_days_N

    def test_read_back_from_disk_it_is_the_same_policy(self, tmp_path: Path) -> None:
        edition = self.published(tmp_path, [{7: np.ones(WIDTH, np.float32)}])[0]
        again = Edition.load(edition.folder)
        assert again.policy_config == self.lifecycle.policy
        assert type(again.policy) is type(self.policy)
        assert again.policy_config.model_dump(mode="json").items() >= dict(self.make()).items()
