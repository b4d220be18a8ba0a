"""Search along a graph."""

from __future__ import annotations

import faiss

from headwater.index.base import Index

LINKS = 32  # of a node


class HnswIndex(Index):
    """Hierarchical navigable small worlds (Malkov & Yashunin 2018)."""

    kind = "hnsw"

    @classmethod
    def empty(cls, width: int) -> faiss.Index:
        handle = faiss.IndexHNSWFlat(width, LINKS, faiss.METRIC_INNER_PRODUCT)
        handle.hnsw.efConstruction = 80
        handle.hnsw.efSearch = 128
        return handle

    def _flat(self) -> faiss.Index:
        return faiss.downcast_index(faiss.downcast_index(self._handle).storage)  # type: ignore[attr-defined]
