"""The methods that T8 compares, by name, in the order in which the table shows them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from headwater.studies.retrieval.days import RetrievalDay

Rankings = dict[str, np.ndarray]  # rows [Q, K] by method
Ranker = Callable[[RetrievalDay, int], Rankings]
POPULAR = " + popularity"
RIVALS = ("popularity", "ALS", "BPR")
ORDER = (
    "exact",
    "exact" + POPULAR,
    *RIVALS,
    "ALS" + POPULAR,
    "BPR" + POPULAR,
    "shuffled",
    "random",
)
FLAT = {"exact"}  # kinds of index that are no approximation: another is measured in their place
