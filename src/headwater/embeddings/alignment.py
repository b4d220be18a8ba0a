"""Orthogonal Procrustes (Schoenemann 1966): the rotation that lays a new space upon an old one. N
shared entities, D width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from headwater.config import AlignConfig
from headwater.digests import digest_of
from headwater.embeddings.snapshot import Snapshot, Space, one_space
from headwater.errors import SpaceMismatch


@dataclass(frozen=True)
class Rotation:
    """x of `source` stands in for x @ matrix_DD of `target`; cosines within the source are kept as
    they are.
    """

    source: Space
    target: Space
    matrix_DD: np.ndarray

    def apply_to(self, space: Space) -> Space:
        """The space that vectors of `space` are in after the rotation. Raises SpaceMismatch."""
        one_space(space, self.source)
        return self.target

    def then(self, other: Rotation) -> Rotation:
        """This rotation and, after it, another. Raises SpaceMismatch."""
        return Rotation(self.source, other.apply_to(self.target), self.matrix_DD @ other.matrix_DD)

    @property
    def digest(self) -> str:
        return digest_of(self.source.as_json(), self.target.as_json(), self.matrix_DD)

    def as_json(self) -> dict[str, Any]:
        return {
            "source": self.source.as_json(),
            "target": self.target.as_json(),
            "matrix": self.matrix_DD.tolist(),
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Rotation:
        return cls(
            Space.from_json(raw["source"]),
            Space.from_json(raw["target"]),
            np.array(raw["matrix"], np.float32),
        )


@dataclass(frozen=True)
class Fit:
    """How well a rotation lays the spaces upon each other, on entities it was not fitted on.
    `cosine_raw` is without it.
    """

    rotation: Rotation
    shared: int
    residual: float
    cosine: float
    cosine_raw: float
    cosine_of: Mapping[str, float]

    def as_dict(self) -> dict[str, Any]:
        return {
            "source": str(self.rotation.source),
            "target": str(self.rotation.target),
            "shared": self.shared,
            "residual": self.residual,
            "cosine": self.cosine,
            "cosine_raw": self.cosine_raw,
            "cosine_of": dict(self.cosine_of),
        }


def fit_rotation(pairs: Mapping[str, tuple[Snapshot, Snapshot]]) -> Fit:
    """One rotation for all entities of an upstream: `pairs` are (new, old) snapshots by entity.
    Each entity weighs the same in all; half of the shared keys (those with an even hash) fit it,
    the other half measures it. Raises SpaceMismatch.
    """
    source, target = (
        one_space(*(new.space for new, _ in pairs.values())),
        one_space(*(old.space for _, old in pairs.values())),
    )
    if source.width != target.width:
        raise SpaceMismatch(
            f"{source} and {target} have vectors of different widths; no rotation maps one onto the"
            " other. Promote the lane without aligning, with the rankers that were trained in it."
        )
    shared = {name: _shared(new, old) for name, (new, old) in pairs.items()}
    product = np.zeros((source.width, source.width))
    for new_ND, old_ND, even_N in shared.values():
        if even_N.any():
            product += new_ND[even_N].T @ old_ND[even_N] / even_N.sum()
    left, _, right = np.linalg.svd(product)
    matrix = left @ right
    error = size = 0.0
    cosines: dict[str, np.ndarray] = {}
    raw: dict[str, np.ndarray] = {}
    for name, (new_ND, old_ND, even_N) in shared.items():
        x, y = new_ND[~even_N], old_ND[~even_N]
        if len(x):
            error += float(((x @ matrix - y) ** 2).sum() / len(x))
            size += float((y**2).sum() / len(y))
            cosines[name], raw[name] = _cosines(x @ matrix, y), _cosines(x, y)
    mean = {name: float(values.mean()) for name, values in cosines.items()}
    rotation, rows = (
        Rotation(source, target, matrix.astype(np.float32)),
        sum(len(x) for x, _, _ in shared.values()),
    )
    before = [float(values.mean()) for values in raw.values()]
    return Fit(
        rotation,
        rows,
        error / size if size else float("inf"),
        float(np.mean(list(mean.values()))) if mean else -1.0,
        float(np.mean(before)) if before else -1.0,
        mean,
    )


def refusals(fit: Fit, limits: AlignConfig) -> list[str]:
    """Why the new space may not stand in for the old one; empty where it may."""
    found = []
    if fit.shared < limits.min_shared:
        found.append(
            f"{fit.shared:,} entities are known to both spaces, at least {limits.min_shared:,} are"
            " needed"
        )
    if fit.cosine < limits.min_cosine:
        found.append(
            f"mean cosine after the rotation is {fit.cosine:.3f}, at least {limits.min_cosine:.3f}"
            " is needed"
        )
    if fit.residual > limits.max_residual:
        found.append(
            f"residual is {fit.residual:.3f}, at most {limits.max_residual:.3f} is allowed"
        )
    return found


def _shared(new: Snapshot, old: Snapshot) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rows, known = old.find(new.keys_N)
    return (
        new.vectors_ND[known].astype(np.float64),
        old.vectors_ND[rows[known]].astype(np.float64),
        new.keys_N[known] % np.uint64(2) == 0,
    )


def _cosines(a_ND: np.ndarray, b_ND: np.ndarray) -> np.ndarray:
    return np.asarray(
        (a_ND * b_ND).sum(axis=1)
        / np.maximum(np.linalg.norm(a_ND, axis=1) * np.linalg.norm(b_ND, axis=1), 1e-12)
    )
