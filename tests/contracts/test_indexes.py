"""Every index keeps this contract; run it on your own by adding it to INDEXES."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from headwater.embeddings import Snapshot, Space
from headwater.errors import SearchError, SpaceMismatch
from headwater.index import INDEXES, Index
from headwater.index import open_index as open_by_digest
from test_embeddings import D0, SPACE, snap


def open_index(root: Path, snapshot: Snapshot, kind: str) -> Index:
    return open_by_digest(
        root, snapshot.digest, snapshot.space, len(snapshot), lambda: snapshot.vectors_ND, kind
    )


@pytest.fixture(params=list(INDEXES))
def kind(request) -> str:
    return request.param


def circle(n: int = 360) -> dict[int, list[float]]:
    """Key k points k degrees round; lengths differ, which a cosine must not mind."""
    return {
        k: [(1 + k % 3) * np.cos(np.radians(k)), (1 + k % 3) * np.sin(np.radians(k))]
        for k in range(1, n + 1)
    }


def test_neighbours_are_the_nearest_directions(kind, tmp_path) -> None:
    snapshot = snap(circle())
    rows, cosines = open_index(tmp_path, snapshot, kind).search(
        np.array([[0.0, 5.0]], np.float32), 3, SPACE
    )
    assert set(snapshot.keys_N[rows[0]].tolist()) == {89, 90, 91}
    assert snapshot.keys_N[rows[0, 0]] == 90
    np.testing.assert_allclose(
        cosines[0], [1, np.cos(np.radians(1)), np.cos(np.radians(1))], atol=1e-5
    )


def test_saved_and_opened_again_it_answers_the_same(kind, tmp_path) -> None:
    snapshot, queries = (
        snap(circle()),
        np.random.default_rng(0).standard_normal((5, 2)).astype(np.float32),
    )
    first = open_index(tmp_path, snapshot, kind).search(queries, 10, SPACE)
    second = open_index(tmp_path, snapshot, kind).search(queries, 10, SPACE)
    np.testing.assert_array_equal(first[0], second[0])
    assert [path.name for path in tmp_path.iterdir()] == [f"{snapshot.digest}-{kind}"]


def test_queries_of_another_space_are_refused(kind, tmp_path) -> None:
    index = open_index(tmp_path, snap(circle()), kind)
    with pytest.raises(SpaceMismatch):
        index.search(np.ones((1, 2), np.float32), 3, Space("cvr", "a" * 32, 2, D0))
    with pytest.raises(SearchError, match="at least 1"):
        index.search(np.ones((1, 2), np.float32), 0, SPACE)
    with pytest.raises(SearchError, match=r"\[Q, 2\]"):
        index.search(np.ones((1, 3), np.float32), 3, SPACE)


def test_asking_for_more_than_there_are_gives_all(kind, tmp_path) -> None:
    rows, _ = open_index(tmp_path, snap(circle(4)), kind).search(
        np.ones((1, 2), np.float32), 10, SPACE
    )
    assert sorted(row for row in rows[0] if row >= 0) == [0, 1, 2, 3]


def test_hnsw_finds_what_exact_finds(tmp_path) -> None:
    generator = np.random.default_rng(0)
    space = Space("ctr", "a" * 32, 16, D0)
    snapshot = snap(
        dict(enumerate(generator.standard_normal((3000, 16)).tolist(), start=1)), space=space
    )
    queries = generator.standard_normal((50, 16)).astype(np.float32)
    exact, _ = open_index(tmp_path, snapshot, "exact").search(queries, 10, space)
    approximate, _ = open_index(tmp_path, snapshot, "hnsw").search(queries, 10, space)
    assert (
        np.mean([len(set(a) & set(b)) / 10 for a, b in zip(exact, approximate, strict=True)]) > 0.97
    )


def cloud(rows: int, width: int = 16) -> tuple[Space, np.ndarray, np.ndarray]:
    """Vectors in twenty clusters, and which cluster each is of."""
    generator = np.random.default_rng(1)
    cluster_N = generator.integers(0, 20, rows)
    vectors = generator.standard_normal((20, width))[cluster_N] + 0.5 * generator.standard_normal(
        (rows, width)
    )
    return Space("ctr", "a" * 32, width, D0), vectors.astype(np.float32), cluster_N


def test_among_some_rows_it_answers_exactly(kind) -> None:
    """Also where what may be answered lies far from the query, as with a category, and where only a
    few are left out.
    """
    space, vectors, cluster_N = cloud(3000)
    index, generator = INDEXES[kind].build(space, vectors), np.random.default_rng(2)
    queries, units = (
        vectors[generator.choice(3000, 20)],
        vectors / np.linalg.norm(vectors, axis=1, keepdims=True),
    )
    few_left_out = np.setdiff1d(np.arange(3000), np.argsort(-(queries[0] @ units.T))[:9])
    for among in (
        np.flatnonzero(cluster_N == 3),
        np.flatnonzero(cluster_N < 10),
        np.sort(generator.choice(3000, 60, replace=False)),
        few_left_out,
    ):
        rows, cosines = index.search(queries, 50, space, among)
        truth = among[np.argsort(-(queries @ units[among].T), axis=1)[:, :50]]
        shared = np.mean([len(np.intersect1d(a, b)) / 50 for a, b in zip(rows, truth, strict=True)])
        assert shared > (0.97 if among is few_left_out else 0.999)
        assert np.isin(rows, among).all()
        assert (np.diff(cosines, axis=1) <= 1e-6).all()


def test_among_fewer_than_k_all_are_answered(kind) -> None:
    space, vectors, _ = cloud(500)
    index = INDEXES[kind].build(space, vectors)
    for among in (np.array([7, 8, 400]), np.zeros(0, np.int64), np.arange(500)[1:]):
        rows, _ = index.search(vectors[:2], 499, space, among)
        assert [sorted(row[row >= 0].tolist()) for row in rows] == [among.tolist()] * 2
    with pytest.raises(SearchError, match="0 to 499"):
        index.search(vectors[:1], 3, space, np.array([500]))


def test_vectors_of_rows_come_back(kind) -> None:
    space, vectors, _ = cloud(100)
    np.testing.assert_allclose(
        INDEXES[kind].build(space, vectors).vectors(np.array([3, 99])),
        vectors[[3, 99]] / np.linalg.norm(vectors[[3, 99]], axis=1, keepdims=True),
        atol=1e-6,
    )


def test_an_index_that_keeps_no_flat_vectors_hands_out_a_copy(kind) -> None:
    space, vectors, _ = cloud(300)
    index = INDEXES[kind].build(space, vectors)
    np.testing.assert_allclose(
        Index._flat(index).reconstruct_n(0, 300), index.vectors(np.arange(300)), atol=1e-6
    )
