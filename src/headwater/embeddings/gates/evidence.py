"""What the gates look at, and what they say of it. Shape suffixes: N rows, D width of a vector."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from headwater.embeddings.snapshot import Snapshot


@dataclass(frozen=True)
class Probe:
    """Rows of the day: the label, and vectors of the user and the item of each row.

    Vectors are those of the new and of the last edition.
    """

    labels_N: np.ndarray  # 0 or 1
    now_user_ND: np.ndarray
    now_item_ND: np.ndarray
    before_user_ND: np.ndarray | None  # None: no last edition
    before_item_ND: np.ndarray | None


@dataclass(frozen=True)
class Evidence:
    """What the gates look at, of one snapshot (say `ctr_user`).

    Snapshots are samples (some 20,000 rows at most; the same entities wherever two of them have
    them), counts are of the whole. `now` holds the new edition's published vectors, `fresh` today's
    daily vectors of entities seen today, and `before` the last edition's (None on the first day),
    all in one space. What is of the last editions or days comes newest first. `coverage` is the
    share of today's log rows whose entity had a served vector, None before the first edition.
    """

    name: str
    now: Snapshot
    fresh: Snapshot
    before: Snapshot | None
    rows: int  # of the new edition
    fresh_rows: int  # entities seen today
    rows_before: tuple[int, ...]  # of the last editions (up to 7)
    fresh_before: tuple[int, ...]  # entities seen on those days
    coverage: float | None
    coverage_before: tuple[float, ...]
    not_finite: int  # rows of the new edition with a NaN or an infinity
    largest_norm: float
    # the space is in its warm-up: it still turns, so what measures drift is reported and not
    # enforced
    young: bool
    probe: Probe | None = None


@dataclass(frozen=True)
class GateResult:
    """What a gate says of a snapshot.

    `reason` is what is wrong where it failed; or why it passed all the same where it does not apply
    (no figure) or is not enforced.
    """

    snapshot: str
    check: str
    figure: float | None
    threshold: float | None
    passed: bool
    reason: str

    def as_json(self) -> dict[str, Any]:
        return asdict(self)
