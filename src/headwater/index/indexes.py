"""Exact search and HNSW. Shape suffixes: N items, Q queries, K neighbours, D width."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

import faiss
import numpy as np

from headwater.embeddings import Snapshot, Space
from headwater.errors import SearchError, SpaceMismatch
from headwater.files import new_folder
from headwater.plugins import resolve


def unit(vectors_ND: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    return np.ascontiguousarray(vectors_ND / np.maximum(norms, 1e-12), dtype=np.float32)


class Index(ABC):
    """Searches the vectors of one snapshot by cosine. A subclass says how faiss is to hold them."""

    kind: str

    def __init__(self, snapshot: Snapshot, handle: faiss.Index) -> None:
        self.snapshot, self._handle = snapshot, handle

    @classmethod
    @abstractmethod
    def empty(cls, width: int) -> faiss.Index:
        """A faiss index to fill with unit vectors, searched by inner product."""

    @classmethod
    def build(cls, snapshot: Snapshot) -> Index:
        handle = cls.empty(snapshot.space.width)
        threads = faiss.omp_get_max_threads()
        faiss.omp_set_num_threads(1)  # a graph built by several threads differs from run to run
        try:
            handle.add(unit(snapshot.vectors_ND))
        finally:
            faiss.omp_set_num_threads(threads)
        return cls(snapshot, handle)

    def search(self, queries_QD: np.ndarray, k: int, space: Space) -> tuple[np.ndarray, np.ndarray]:
        """Rows of the snapshot [Q, k] (-1: fewer than k) and cosines [Q, k], best first.

        Raises SpaceMismatch for queries of another space, SearchError for a bad k or width.
        """
        if space != self.snapshot.space:
            raise SpaceMismatch(f"queries of {space} may not be searched among vectors of {self.snapshot.space}.")
        if k < 1:
            raise SearchError(f"k should be at least 1. Received: {k}.")
        if queries_QD.ndim != 2 or queries_QD.shape[1] != space.width:
            raise SearchError(f"queries should be [Q, {space.width}]. Received: {queries_QD.shape}.")
        cosines, rows = self._handle.search(unit(queries_QD), min(k, max(1, len(self.snapshot))))
        return rows, cosines

    def save(self, folder: Path) -> None:
        with new_folder(folder) as aside:
            faiss.write_index(self._handle, str(aside / "index.faiss"))


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


def open_index(root: Path, snapshot: Snapshot, kind: str) -> Index:
    """The index of `snapshot`, read from `root/DIGEST-KIND`, or built and saved there."""
    cls: type[Index] = resolve("headwater.index", INDEXES, kind)
    folder = root / f"{snapshot.digest}-{kind}"
    file = folder / "index.faiss"
    if not file.is_file():
        cls.build(snapshot).save(folder)
    try:
        handle = faiss.read_index(str(file))
    except RuntimeError as error:
        raise SearchError(f"{file}: cannot be read. Remove {folder}; it is built again at the next search.") from error
    if handle.ntotal != len(snapshot):
        raise SearchError(f"{file}: holds {handle.ntotal:,} vectors, the snapshot {len(snapshot):,}. Remove {folder}.")
    return cls(snapshot, handle)
