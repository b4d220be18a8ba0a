"""Exact search."""

from __future__ import annotations

import faiss

from headwater.index.base import Index


class ExactIndex(Index):
    """Compares with every vector: the truth that others are measured against."""

    kind = "exact"

    @classmethod
    def empty(cls, width: int) -> faiss.Index:
        return faiss.IndexFlatIP(width)

    def _flat(self) -> faiss.Index:
        return self._handle
