"""Exact search and HNSW. Shape suffixes: N items, Q queries, K neighbours, D width."""

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


def unit(vectors_ND: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    return np.ascontiguousarray(vectors_ND / np.maximum(norms, 1e-12), dtype=np.float32)


class Index(ABC):
    """Searches the vectors of one snapshot, by cosine. A subclass says how faiss is to hold them."""

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

    def search(self, queries_QD: np.ndarray, k: int, space: Space) -> tuple[np.ndarray, np.ndarray]:
        """Rows of the vectors [Q, k] (-1: fewer than k) and cosines [Q, k], best first.

        Raises SpaceMismatch for queries of another space, SearchError for a bad k or width.
        """
        if space != self.space:
            raise SpaceMismatch(f"queries of {space} may not be searched among vectors of {self.space}.")
        if k < 1:
            raise SearchError(f"k should be at least 1. Received: {k}.")
        if queries_QD.ndim != 2 or queries_QD.shape[1] != space.width:
            raise SearchError(f"queries should be [Q, {space.width}]. Received: {queries_QD.shape}.")
        cosines, rows = self._handle.search(unit(queries_QD), min(k, max(1, len(self))))
        return rows, cosines

    def save(self, folder: Path) -> None:
        with new_folder(folder) as aside:
            try:
                faiss.write_index(self._handle, str(aside / "index.faiss"))
            except RuntimeError as error:
                raise SearchError(f"{folder}: the index cannot be written ({error}). Is the disk full?") from error


class ExactIndex(Index):
    """Compares with every vector: the truth that others are measured against."""

    kind = "exact"

    @classmethod
    def empty(cls, width: int) -> faiss.Index:
        return faiss.IndexFlatIP(width)


class HnswIndex(Index):
    """Hierarchical navigable small worlds (Malkov & Yashunin 2018), 32 links a node."""

    kind = "hnsw"

    @classmethod
    def empty(cls, width: int) -> faiss.Index:
        handle = faiss.IndexHNSWFlat(width, 32, faiss.METRIC_INNER_PRODUCT)
        handle.hnsw.efConstruction = 80
        handle.hnsw.efSearch = 128
        return handle


INDEXES: dict[str, type[Index]] = {"exact": ExactIndex, "hnsw": HnswIndex}


def open_index(root: Path, digest: str, space: Space, rows: int, vectors: Callable[[], np.ndarray], kind: str) -> Index:
    """The index of the snapshot `digest`, read from `root/DIGEST-KIND`, or built from its `vectors()` [rows, D] and saved there."""
    cls: type[Index] = resolve("headwater.index", INDEXES, kind)
    folder = index_folder(root, digest, kind)
    file = folder / "index.faiss"
    if not file.is_file():
        cls.build(space, vectors()).save(folder)
    try:
        handle = faiss.read_index(str(file))
    except RuntimeError as error:
        raise SearchError(f"{file}: cannot be read. Remove {folder}; it is built again at the next search.") from error
    if handle.ntotal != rows:
        raise SearchError(f"{file}: holds {handle.ntotal:,} vectors, the snapshot {rows:,}. Remove {folder}.")
    return cls(space, handle)


def index_folder(root: Path, digest: str, kind: str) -> Path:
    return root / f"{digest}-{kind}"
