"""Our own indexes keep the contract."""

from __future__ import annotations

import numpy as np
import pytest

from headwater.index import INDEXES, ExactIndex, HnswIndex, Index
from headwater.testing import IndexContract
from headwater.testing.indexes import cloud


class TestExactIndex(IndexContract):
    recall = 1.0

    def make(self, space, vectors_ND) -> Index:
        return ExactIndex.build(space, vectors_ND)


class TestHnswIndex(IndexContract):
    def make(self, space, vectors_ND) -> Index:
        return HnswIndex.build(space, vectors_ND)


@pytest.mark.parametrize("kind", list(INDEXES))
def test_an_index_that_keeps_no_flat_vectors_hands_out_a_copy(kind) -> None:
    space, vectors_ND, _ = cloud(300)
    index = INDEXES[kind].build(space, vectors_ND)
    np.testing.assert_allclose(
        Index._flat(index).reconstruct_n(0, 300), index.vectors(np.arange(300)), atol=1e-6
    )
