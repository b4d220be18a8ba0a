"""Nearest neighbours over a snapshot, by cosine; an index is named by the snapshot's digest."""

from headwater.index.indexes import INDEXES, ExactIndex, HnswIndex, Index, index_folder, open_index

__all__ = ["INDEXES", "ExactIndex", "HnswIndex", "Index", "index_folder", "open_index"]
