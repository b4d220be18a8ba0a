"""What a snapshot must satisfy before it is published: each check a figure, a threshold and a reason."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from headwater.config import GateConfig
from headwater.embeddings.snapshot import Snapshot, same_space


@dataclass(frozen=True)
class GateResult:
    snapshot: str
    check: str
    figure: float
    threshold: float
    passed: bool
    reason: str

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def effective_rank(vectors_ND: np.ndarray, sample: int = 20_000) -> float:
    """exp(entropy) of the normalised singular values of the centred vectors (Roy & Vetterli 2007); 1 is a collapse."""
    rows = vectors_ND[:: max(1, len(vectors_ND) // sample)].astype(np.float64)
    if len(rows) < 2:
        return float(vectors_ND.shape[1])
    values = np.linalg.svd(rows - rows.mean(axis=0), compute_uv=False)
    if values.sum() == 0:
        return 1.0
    shares = values / values.sum()
    shares = shares[shares > 0]
    return float(np.exp(-(shares * np.log(shares)).sum()))


def cosine_to(before: Snapshot, now: Snapshot) -> np.ndarray:
    """Cosine of each shared entity's two vectors. Raises SpaceMismatch."""
    same_space(before, now)
    rows, known = before.find(now.keys_N)
    a, b = before.vectors_ND[rows[known]], now.vectors_ND[known]
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.asarray((a * b).sum(axis=1) / np.maximum(norms, 1e-12))


def check_snapshot(now: Snapshot, before: Snapshot | None, gates: GateConfig) -> list[GateResult]:
    """All checks of one snapshot against the last edition's."""
    norms = np.linalg.norm(now.vectors_ND, axis=1) if len(now) else np.zeros(1)
    results = [
        _at_most(now, "largest norm", float(norms.max()), gates.max_norm, "a vector has grown out of bounds"),
        _at_least(now, "median norm", float(np.median(norms)), gates.min_norm, "the vectors have shrunk to nothing"),
    ]
    if len(now) > 1:
        results.append(_at_least(now, "effective rank", effective_rank(now.vectors_ND), gates.min_effective_rank,
                                 "the vectors have collapsed onto a few directions"))  # fmt: skip
    if before is not None:
        results.append(_at_least(now, "rows against the last edition", len(now) / max(1, len(before)), gates.min_rows_share,
                                 "many entities have gone missing"))  # fmt: skip
    return results


def _at_least(now: Snapshot, check: str, figure: float, threshold: float, reason: str) -> GateResult:
    return GateResult(now.name, check, figure, threshold, figure >= threshold, reason)


def _at_most(now: Snapshot, check: str, figure: float, threshold: float, reason: str) -> GateResult:
    return GateResult(now.name, check, figure, threshold, figure <= threshold, reason)
