"""What every index keeps to. Shapes: N vectors, M of them, Q queries, K neighbours, D width."""

from __future__ import annotations

import datetime as dt
from abc import ABC, abstractmethod
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from headwater.embeddings import Space
from headwater.errors import SearchError, SpaceMismatch
from headwater.index import INDEXES, Index, open_index

DAY = dt.date(2025, 1, 1)
PLANE = Space("ctr", "a" * 32, 2, DAY)


def circle(n: int = 360) -> np.ndarray:
    """Row k points k + 1 degrees round; lengths differ, which a cosine must not mind."""
    k = np.arange(1, n + 1)
    unit_N2 = np.stack([np.cos(np.radians(k)), np.sin(np.radians(k))], axis=1)
    return np.asarray((1 + k % 3)[:, None] * unit_N2, np.float32)


def cloud(rows: int, width: int = 16) -> tuple[Space, np.ndarray, np.ndarray]:
    """A space, vectors in twenty clusters, and which cluster each is of."""
    generator = np.random.default_rng(1)
    cluster_N = generator.integers(0, 20, rows)
    vectors_ND = generator.standard_normal((20, width))[cluster_N]
    vectors_ND = vectors_ND + 0.5 * generator.standard_normal((rows, width))
    return Space("ctr", "a" * 32, width, DAY), vectors_ND.astype(np.float32), cluster_N


def units_of(vectors_ND: np.ndarray) -> np.ndarray:
    return np.asarray(vectors_ND / np.linalg.norm(vectors_ND, axis=1, keepdims=True))


def nearest(
    queries_QD: np.ndarray, vectors_ND: np.ndarray, k: int, among_M: np.ndarray
) -> np.ndarray:
    """The slow twin: rows [Q, k] by comparing with each of those that may be answered."""
    cosines_QM = queries_QD @ units_of(vectors_ND)[among_M].T
    return np.asarray(among_M[np.argsort(-cosines_QM, axis=1)[:, :k]])


def shared(found_QK: np.ndarray, truth_QK: np.ndarray) -> float:
    """The share of the true neighbours that were found."""
    pairs = zip(found_QK, truth_QK, strict=True)
    return float(np.mean([len(np.intersect1d(a, b)) / truth_QK.shape[1] for a, b in pairs]))


class IndexContract(ABC):
    """Subclass it with `make`. `recall` is the share of the true neighbours that an unfiltered
    search should find.
    """

    recall = 0.97

    @abstractmethod
    def make(self, space: Space, vectors_ND: np.ndarray) -> Index:
        """An index of those vectors."""

    def opened(self, root: Path, vectors_ND: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> Index:
        """As a factory opens it: read from `root`, or built and saved there."""
        made = self.make(PLANE, vectors_ND)
        monkeypatch.setitem(INDEXES, "contract", type(made))
        return open_index(root, "d1", PLANE, len(vectors_ND), lambda: vectors_ND, "contract")

    def test_neighbours_are_the_nearest_directions(self) -> None:
        index = self.make(PLANE, circle())
        assert len(index) == 360
        rows, cosines = index.search(np.array([[0.0, 5.0]], np.float32), 3, PLANE)
        assert set(rows[0].tolist()) == {88, 89, 90}
        assert rows[0, 0] == 89
        beside = np.cos(np.radians(1))
        np.testing.assert_allclose(cosines[0], [1, beside, beside], atol=1e-5)

    def test_saved_and_opened_again_it_answers_the_same(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        queries = np.random.default_rng(0).standard_normal((5, 2)).astype(np.float32)
        first, second = (
            self.opened(tmp_path, circle(), monkeypatch).search(queries, 10, PLANE)
            for _ in range(2)
        )
        np.testing.assert_array_equal(first[0], second[0])
        np.testing.assert_array_equal(first[1], second[1])
        assert [path.name for path in tmp_path.iterdir()] == ["d1-contract"]
        with pytest.raises(SearchError, match="the snapshot 350"):
            self.opened(tmp_path, circle(350), monkeypatch)

    def test_built_twice_it_answers_the_same(self) -> None:
        space, vectors_ND, _ = cloud(2000)
        one, other = (
            self.make(space, vectors_ND).search(vectors_ND[:50], 20, space)[0] for _ in "ab"
        )
        np.testing.assert_array_equal(one, other)

    def test_bad_queries_are_refused(self) -> None:
        index = self.make(PLANE, circle())
        with pytest.raises(SpaceMismatch):
            index.search(np.ones((1, 2), np.float32), 3, Space("cvr", "a" * 32, 2, DAY))
        with pytest.raises(SearchError, match="at least 1"):
            index.search(np.ones((1, 2), np.float32), 0, PLANE)
        with pytest.raises(SearchError, match=r"\[Q, 2\]"):
            index.search(np.ones((1, 3), np.float32), 3, PLANE)

    def test_asking_for_more_than_there_are_gives_all(self) -> None:
        rows, _ = self.make(PLANE, circle(4)).search(np.ones((1, 2), np.float32), 10, PLANE)
        assert sorted(row for row in rows[0] if row >= 0) == [0, 1, 2, 3]

    def test_it_finds_what_comparing_with_every_vector_finds(self) -> None:
        generator = np.random.default_rng(0)
        space = Space("ctr", "a" * 32, 16, DAY)
        vectors_ND = generator.standard_normal((3000, 16)).astype(np.float32)
        queries_QD = generator.standard_normal((50, 16)).astype(np.float32)
        rows, cosines = self.make(space, vectors_ND).search(queries_QD, 10, space)
        truth = nearest(queries_QD, vectors_ND, 10, np.arange(3000))
        assert shared(rows, truth) >= self.recall
        exact = np.einsum("qd,qkd->qk", units_of(queries_QD), units_of(vectors_ND)[rows])
        np.testing.assert_allclose(cosines, exact, atol=1e-5)

    @pytest.mark.parametrize("which", ["one cluster", "half", "a few", "all but a few"])
    def test_among_some_rows_it_answers_exactly(self, which: str) -> None:
        """Also where what may be answered lies far from the query, as with a category, and where
        only a few are left out.
        """
        space, vectors_ND, cluster_N = cloud(3000)
        index = self.make(space, vectors_ND)
        generator = np.random.default_rng(2)
        queries_QD = vectors_ND[generator.choice(3000, 20)]
        best = nearest(queries_QD[:1], vectors_ND, 9, np.arange(3000))[0]
        among_M = {
            "one cluster": np.flatnonzero(cluster_N == 3),
            "half": np.flatnonzero(cluster_N < 10),
            "a few": np.sort(generator.choice(3000, 60, replace=False)),
            "all but a few": np.setdiff1d(np.arange(3000), best),
        }[which]
        rows, cosines = index.search(queries_QD, 50, space, among_M)
        truth = nearest(queries_QD, vectors_ND, 50, among_M)
        assert shared(rows, truth) > (0.97 if which == "all but a few" else 0.999)
        assert np.isin(rows, among_M).all()
        assert (np.diff(cosines, axis=1) <= 1e-6).all()

    @pytest.mark.parametrize("among", [[7, 8, 400], [], [*range(1, 500)]], ids=len)
    def test_among_fewer_than_k_all_are_answered(self, among: list[int]) -> None:
        space, vectors_ND, _ = cloud(500)
        search = partial(self.make(space, vectors_ND).search, vectors_ND[:2], 499, space)
        rows, _ = search(np.array(among, np.int64))
        assert [sorted(row[row >= 0].tolist()) for row in rows] == [among] * 2

    def test_rows_that_are_not_there_are_refused(self) -> None:
        space, vectors_ND, _ = cloud(500)
        with pytest.raises(SearchError, match="0 to 499"):
            self.make(space, vectors_ND).search(vectors_ND[:1], 3, space, np.array([500]))

    def test_vectors_of_rows_come_back(self) -> None:
        space, vectors_ND, _ = cloud(100)
        rows_M = np.array([99, 3])
        found = self.make(space, vectors_ND).vectors(rows_M)
        np.testing.assert_allclose(found, units_of(vectors_ND)[rows_M], atol=1e-6)
