"""An index: nearest neighbours by cosine among the vectors of one snapshot, over all or some.

Shape suffixes: N items, M of them, Q queries, K neighbours, D width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

import faiss
import numpy as np

from headwater.embeddings import Space
from headwater.errors import SearchError, SpaceMismatch
from headwater.files import new_folder

# items left out that a search asks for too many by; where more are left out, it compares with every
# one that is left
MOST_PASSED_OVER = 256


def unit(vectors_ND: np.ndarray) -> np.ndarray:
    """The vectors at length 1, float32; a vector of zeros stays one."""
    norms = np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    return np.ascontiguousarray(vectors_ND / np.maximum(norms, 1e-12), dtype=np.float32)


class Index(ABC):
    """Searches the vectors of one snapshot, by cosine.

    A subclass says how faiss is to hold them.
    """

    kind: str

    def __init__(self, space: Space, handle: faiss.Index) -> None:
        self.space = space
        self._handle = handle

    def __len__(self) -> int:
        return int(self._handle.ntotal)

    @classmethod
    @abstractmethod
    def empty(cls, width: int) -> faiss.Index:
        """A faiss index to fill with unit vectors, searched by inner product."""

    @classmethod
    def build(cls, space: Space, vectors_ND: np.ndarray) -> Index:
        handle = cls.empty(space.width)
        threads = faiss.omp_get_max_threads()
        faiss.omp_set_num_threads(1)  # a graph built by several threads differs from run to run
        try:
            handle.add(unit(vectors_ND))
        finally:
            faiss.omp_set_num_threads(threads)
        return cls(space, handle)

    def search(
        self, queries_QD: np.ndarray, k: int, space: Space, among_M: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Rows of the vectors [Q, K] (-1: fewer than K) and cosines [Q, K], best first.

        Only of the rows `among_M`, where it is given. A graph that may not answer with most of what
        it passes finds few of those that it may (benchmarks/filters.py), so where more than a few
        are left out, the search is exact. Raises SpaceMismatch for queries of another space,
        SearchError for a bad k, width or row.
        """
        self._expect_queries(queries_QD, k, space)
        queries_QD = unit(queries_QD)
        allowed_N = self._allowed(among_M)
        left = int(allowed_N.sum())
        k = min(k, max(1, left))
        if left and len(self) - left <= MOST_PASSED_OVER:
            found = self._search_too_many(queries_QD, k, allowed_N)
            if found is not None:
                return found
        return self._search_exactly(queries_QD, k, allowed_N)

    def _expect_queries(self, queries_QD: np.ndarray, k: int, space: Space) -> None:
        if space != self.space:
            raise SpaceMismatch(
                f"queries of {space} may not be searched among vectors of {self.space}."
            )
        if k < 1:
            raise SearchError(f"k should be at least 1. Received: {k}.")
        if queries_QD.ndim != 2 or queries_QD.shape[1] != space.width:
            raise SearchError(
                f"queries should be [Q, {space.width}]. Received: {queries_QD.shape}."
            )

    def _allowed(self, among_M: np.ndarray | None) -> np.ndarray:
        """Whether each row may be answered, bool [N]."""
        if among_M is None:
            return np.ones(len(self), bool)
        if len(among_M) and not 0 <= among_M.min() <= among_M.max() < len(self):
            raise SearchError(
                f"rows to search among should be from 0 to {len(self) - 1}. Received:"
                f" {among_M.min()} to {among_M.max()}."
            )
        allowed_N = np.zeros(len(self), bool)
        allowed_N[among_M] = True
        return allowed_N

    def _search_too_many(
        self, queries_QD: np.ndarray, k: int, allowed_N: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """Ask for as many more as may not be answered, and leave these out.

        None where fewer than `k` came back, as a graph may not reach all of its items.
        """
        passed_over = len(self) - int(allowed_N.sum())
        cosines_QK, rows_QK = self._handle.search(queries_QD, k + passed_over)
        left_out_QK = ~((rows_QK >= 0) & allowed_N[rows_QK])
        # those allowed come first, in their order
        places_QK = np.argsort(left_out_QK, axis=1, kind="stable")[:, :k]
        rows_QK = np.take_along_axis(rows_QK, places_QK, axis=1)
        cosines_QK = np.take_along_axis(cosines_QK, places_QK, axis=1)
        if (rows_QK >= 0).all() and allowed_N[rows_QK].all():
            return rows_QK, cosines_QK
        return None

    def _search_exactly(
        self, queries_QD: np.ndarray, k: int, allowed_N: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        bits = np.packbits(allowed_N, bitorder="little")
        # the stubs tell of C++, not of Python
        chosen = faiss.SearchParameters(sel=faiss.IDSelectorBitmap(bits))  # type: ignore[call-arg, arg-type]
        cosines_QK, rows_QK = self._flat().search(queries_QD, k, params=chosen)
        return rows_QK, cosines_QK

    def _flat(self) -> faiss.Index:
        """The same vectors in a flat index, for exact search.

        An index that holds them flat hands those out instead of a copy.
        """
        flat = faiss.IndexFlatIP(self.space.width)
        flat.add(self._handle.reconstruct_n(0, len(self)))
        return flat

    def vectors(self, rows_M: np.ndarray) -> np.ndarray:
        """The unit vectors [M, D] of some rows."""
        return np.asarray(self._handle.reconstruct_batch(rows_M.astype(np.int64)), np.float32)

    def save(self, folder: Path) -> None:
        with new_folder(folder) as aside:
            try:
                faiss.write_index(self._handle, str(aside / "index.faiss"))
            except RuntimeError as error:
                raise SearchError(
                    f"{folder}: the index cannot be written ({error}). Is the disk full?"
                ) from error
