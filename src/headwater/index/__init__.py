"""Nearest neighbours over a snapshot, by cosine; filters, and popularity in the score."""

from headwater.index.base import Index, unit
from headwater.index.exact import ExactIndex
from headwater.index.filters import Condition, matching_keys
from headwater.index.hnsw import HnswIndex
from headwater.index.opening import INDEXES, index_folder, open_index
from headwater.index.prior import (
    counts_of,
    fold_items,
    fold_queries,
    fold_radius,
    folded_space,
    log_popularity,
    unfold,
)

__all__ = [
    "INDEXES",
    "Condition",
    "ExactIndex",
    "HnswIndex",
    "Index",
    "counts_of",
    "fold_items",
    "fold_queries",
    "fold_radius",
    "folded_space",
    "index_folder",
    "log_popularity",
    "matching_keys",
    "open_index",
    "unfold",
    "unit",
]
