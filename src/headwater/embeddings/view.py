"""View: what consumers see of a store. It has no method that can see a later day."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from headwater.embeddings.snapshot import Space

NEVER_SEEN = -1


@dataclass(frozen=True)
class Served:
    """What a consumer got for N rows: vectors (zeros where absent), and whether each was found.

    The age is days since last seen; -1 where no log has shown the entity yet, so that its vector is
    of its content alone. Where the policy serves sequences: `sequence_NKD`, newest first, of which
    the first `steps_N` are filled.
    """

    space: Space
    vectors_ND: np.ndarray
    found_N: np.ndarray
    age_days_N: np.ndarray
    sequence_NKD: np.ndarray | None = None
    steps_N: np.ndarray | None = None


class View(Protocol):
    """The store as of the end of a day.

    It is the only thing through which a downstream model reads vectors.
    """

    @property
    def day(self) -> dt.date: ...

    def read(self, name: str, keys_N: np.ndarray, rows_of: dt.date) -> Served | None:
        """The vectors `name` (such as `ctr_user`) served to rows of the day `rows_of`.

        None before the first edition. Raises LeakError where the rows are not later than the view.
        """
