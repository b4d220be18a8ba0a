"""Nearest neighbours over a snapshot, by cosine; an index is named by the snapshot's digest.
Filters, and popularity in the score.
"""

from headwater.index.filters import Condition, matching_keys
from headwater.index.indexes import (
    INDEXES,
    ExactIndex,
    HnswIndex,
    Index,
    index_folder,
    open_index,
    unit,
)
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
