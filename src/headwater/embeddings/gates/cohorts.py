"""How far today's vectors lie from the last edition, by what became of an entity since.

Shape suffix: N entities.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from headwater.embeddings.gates.figures import unit
from headwater.embeddings.snapshot import Snapshot, same_space


@dataclass(frozen=True)
class CohortCosine:
    """Cosines of one cohort of today's entities.

    `to_last` is the median cosine of today's vector with the entity's own in the last edition
    (`to_last_p10`: its tenth percentile), `to_centre` that with the mean direction of the last
    edition. A figure is None where the cohort is empty, or new (no last vector).
    """

    rows: int
    to_last: float | None
    to_last_p10: float | None
    to_centre: float | None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def cosine_to(before: Snapshot, now: Snapshot) -> np.ndarray:
    """Cosine of each shared entity's two vectors. Raises SpaceMismatch."""
    same_space(before, now)
    rows, known = before.find(now.keys_N)
    products = unit(before.vectors_ND[rows[known]]) * unit(now.vectors_ND[known])
    return np.asarray(products.sum(axis=1))


def cosine_by_cohort(before: Snapshot, fresh: Snapshot) -> dict[str, CohortCosine]:
    """How far today's daily vectors lie from the last edition, cohort by cohort.

    Entities are `continuing` (last seen on the last day that `before` saw anyone), `returning`
    (last seen earlier) or `new`. Raises SpaceMismatch.
    """
    own = cosine_to(before, fresh)
    rows, known = before.find(fresh.keys_N)
    seen = before.seen_N[rows[known]]
    centre = unit(unit(before.vectors_ND).sum(axis=0, keepdims=True))[0]
    to_centre = unit(fresh.vectors_ND) @ centre
    last = seen == before.seen_N.max(initial=np.iinfo(np.int32).min)
    return {
        "continuing": _cohort(own[last], to_centre[known][last]),
        "returning": _cohort(own[~last], to_centre[known][~last]),
        "new": _cohort(own[:0], to_centre[~known]),
    }


def _cohort(own_N: np.ndarray, to_centre_N: np.ndarray) -> CohortCosine:
    return CohortCosine(
        rows=len(to_centre_N),
        to_last=float(np.median(own_N)) if len(own_N) else None,
        to_last_p10=float(np.quantile(own_N, 0.1)) if len(own_N) else None,
        to_centre=float(np.median(to_centre_N)) if len(to_centre_N) else None,
    )
