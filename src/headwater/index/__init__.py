"""Nearest neighbours over a snapshot, by cosine; an index is named by the snapshot's digest."""

from headwater.index.indexes import INDEXES, ExactIndex, HnswIndex, Index, open_index

__all__ = ["INDEXES", "ExactIndex", "HnswIndex", "Index", "open_index"]
