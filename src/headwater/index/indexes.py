"""Exact search and HNSW, over all items or some. Shape suffixes: N items, M of them, Q queries, K
neighbours, D width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

import faiss
import numpy as np

from headwater.embeddings import Space
from headwater.errors import SearchError, SpaceMismatch
from headwater.files import new_folder
from headwater.plugins import resolve

# items left out that a search asks for too many by; where more are left out, it compares with every
# one that is left
MOST_PASSED_OVER = 256


def unit(vectors_ND: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    return np.ascontiguousarray(vectors_ND / np.maximum(norms, 1e-12), dtype=np.float32)


class Index(ABC):
    """Searches the vectors of one snapshot, by cosine. A subclass says how faiss is to
    hold them.
    """

    kind: str

    def __init__(self, space: Space, handle: faiss.Index) -> None:
        self.space, self._handle = space, handle

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
        """Rows of the vectors [Q, k] (-1: fewer than k) and cosines [Q, k], best first; of the rows
        `among_M` only, where it is given.

        A graph that may not answer with most of what it passes finds few of those that it may
        (benchmarks/filters.py), so where more than a few are left out, the search is exact. Raises
        SpaceMismatch for queries of another space, SearchError for a bad k, width or row.
        """
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
        queries_QD, allowed_N = unit(queries_QD), np.ones(len(self), bool)
        if among_M is not None:
            if len(among_M) and not 0 <= among_M.min() <= among_M.max() < len(self):
                raise SearchError(
                    f"rows to search among should be from 0 to {len(self) - 1}. Received:"
                    f" {among_M.min()} to {among_M.max()}."
                )
            allowed_N = np.zeros(len(self), bool)
            allowed_N[among_M] = True
        left = int(allowed_N.sum())
        passed_over, k = len(self) - left, min(k, max(1, left))
        if left and passed_over <= MOST_PASSED_OVER:
            cosines_QK, rows_QK = self._handle.search(queries_QD, k + passed_over)
            places_QK = np.argsort(~((rows_QK >= 0) & allowed_N[rows_QK]), axis=1, kind="stable")[
                :, :k
            ]  # those allowed come first, in their order
            rows_QK, cosines_QK = (
                np.take_along_axis(rows_QK, places_QK, axis=1),
                np.take_along_axis(cosines_QK, places_QK, axis=1),
            )
            if (rows_QK >= 0).all() and allowed_N[
                rows_QK
            ].all():  # a graph may not reach all of its items
                return rows_QK, cosines_QK
        bits = np.packbits(allowed_N, bitorder="little")
        chosen = faiss.SearchParameters(sel=faiss.IDSelectorBitmap(bits))  # type: ignore[call-arg, arg-type]  # the stubs tell of C++, not of Python
        cosines_QK, rows_QK = self._flat().search(queries_QD, k, params=chosen)
        return rows_QK, cosines_QK

    def _flat(self) -> faiss.Index:
        """The same vectors in a flat index, for exact search. An index that holds them flat hands
        those out instead of a copy.
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


class ExactIndex(Index):
    """Compares with every vector: the truth that others are measured against."""

    kind = "exact"

    @classmethod
    def empty(cls, width: int) -> faiss.Index:
        return faiss.IndexFlatIP(width)

    def _flat(self) -> faiss.Index:
        return self._handle


class HnswIndex(Index):
    """Hierarchical navigable small worlds (Malkov & Yashunin 2018), 32 links a node."""

    kind = "hnsw"

    @classmethod
    def empty(cls, width: int) -> faiss.Index:
        handle = faiss.IndexHNSWFlat(width, 32, faiss.METRIC_INNER_PRODUCT)
        handle.hnsw.efConstruction = 80
        handle.hnsw.efSearch = 128
        return handle

    def _flat(self) -> faiss.Index:
        return faiss.downcast_index(faiss.downcast_index(self._handle).storage)  # type: ignore[attr-defined]


INDEXES: dict[str, type[Index]] = {"exact": ExactIndex, "hnsw": HnswIndex}


def open_index(
    root: Path, digest: str, space: Space, rows: int, vectors: Callable[[], np.ndarray], kind: str
) -> Index:
    """The index of the snapshot `digest`, read from `root/DIGEST-KIND`, or built from its
    `vectors()` [rows, D] and saved there.
    """
    cls: type[Index] = resolve("headwater.index", INDEXES, kind)
    folder = index_folder(root, digest, kind)
    file = folder / "index.faiss"
    if not file.is_file():
        cls.build(space, vectors()).save(folder)
    try:
        handle = faiss.read_index(str(file))
    except RuntimeError as error:
        raise SearchError(
            f"{file}: cannot be read. Remove {folder}; it is built again at the next search."
        ) from error
    if handle.ntotal != rows:
        raise SearchError(
            f"{file}: holds {handle.ntotal:,} vectors, the snapshot {rows:,}. Remove {folder}."
        )
    return cls(space, handle)


def index_folder(root: Path, digest: str, kind: str) -> Path:
    return root / f"{digest}-{kind}"
