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
    return open_by_digest(root, snapshot.digest, snapshot.space, len(snapshot), lambda: snapshot.vectors_ND, kind)


@pytest.fixture(params=list(INDEXES))
def kind(request) -> str:
    return request.param


def circle(n: int = 360) -> dict[int, list[float]]:
    """Key k points k degrees round; lengths differ, which a cosine must not mind."""
    return {k: [(1 + k % 3) * np.cos(np.radians(k)), (1 + k % 3) * np.sin(np.radians(k))] for k in range(1, n + 1)}


def test_neighbours_are_the_nearest_directions(kind, tmp_path) -> None:
    snapshot = snap(circle())
    rows, cosines = open_index(tmp_path, snapshot, kind).search(np.array([[0.0, 5.0]], np.float32), 3, SPACE)
    assert set(snapshot.keys_N[rows[0]].tolist()) == {89, 90, 91}
    assert snapshot.keys_N[rows[0, 0]] == 90
    np.testing.assert_allclose(cosines[0], [1, np.cos(np.radians(1)), np.cos(np.radians(1))], atol=1e-5)


def test_saved_and_opened_again_it_answers_the_same(kind, tmp_path) -> None:
    snapshot, queries = snap(circle()), np.random.default_rng(0).standard_normal((5, 2)).astype(np.float32)
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
    rows, _ = open_index(tmp_path, snap(circle(4)), kind).search(np.ones((1, 2), np.float32), 10, SPACE)
    assert sorted(row for row in rows[0] if row >= 0) == [0, 1, 2, 3]


def test_hnsw_finds_what_exact_finds(tmp_path) -> None:
    generator = np.random.default_rng(0)
    space = Space("ctr", "a" * 32, 16, D0)
    snapshot = snap(dict(enumerate(generator.standard_normal((3000, 16)).tolist(), start=1)), space=space)
    queries = generator.standard_normal((50, 16)).astype(np.float32)
    exact, _ = open_index(tmp_path, snapshot, "exact").search(queries, 10, space)
    approximate, _ = open_index(tmp_path, snapshot, "hnsw").search(queries, 10, space)
    assert np.mean([len(set(a) & set(b)) / 10 for a, b in zip(exact, approximate, strict=True)]) > 0.97
