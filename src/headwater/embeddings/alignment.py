"""Orthogonal Procrustes (Schoenemann 1966): the rotation that lays a new space upon an old one.

Shape suffixes: N shared entities, D width.
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
    """x of `source` stands in for x @ matrix_DD of `target`.

    Cosines within the source are kept as they are.
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

    `cosine` is the mean over entities of the mean cosine, `cosine_raw` is without the rotation.
    """

    rotation: Rotation
    shared: int
    residual: float
    cosine: float
    cosine_raw: float
    cosine_of: Mapping[str, float]

    def as_json(self) -> dict[str, Any]:
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

    Each entity weighs the same in all. Half of the shared keys (those with an even hash) fit the
    rotation, the other half measures it. Raises SpaceMismatch.
    """
    source = one_space(*(new.space for new, _ in pairs.values()))
    target = one_space(*(old.space for _, old in pairs.values()))
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
    return _measured(Rotation(source, target, left @ right), shared)


def _measured(
    exact: Rotation, shared: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]]
) -> Fit:
    """How well the rotation, still in float64, fits the half of the shared keys with odd hashes."""
    error = size = 0.0
    cosines: dict[str, float] = {}
    raw: list[float] = []
    for name, (new_ND, old_ND, even_N) in shared.items():
        x_ND, y_ND = new_ND[~even_N], old_ND[~even_N]
        if len(x_ND):
            rotated_ND = x_ND @ exact.matrix_DD
            error += float(((rotated_ND - y_ND) ** 2).sum() / len(x_ND))
            size += float((y_ND**2).sum() / len(y_ND))
            cosines[name] = float(_cosines(rotated_ND, y_ND).mean())
            raw.append(float(_cosines(x_ND, y_ND).mean()))
    return Fit(
        rotation=Rotation(exact.source, exact.target, exact.matrix_DD.astype(np.float32)),
        shared=sum(len(new_ND) for new_ND, _, _ in shared.values()),
        residual=error / size if size else float("inf"),
        cosine=float(np.mean(list(cosines.values()))) if cosines else -1.0,
        cosine_raw=float(np.mean(raw)) if raw else -1.0,
        cosine_of=cosines,
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
    """New and old vectors [N, D] of the shared entities, and whether each one's hash is even."""
    rows, known = old.find(new.keys_N)
    return (
        new.vectors_ND[known].astype(np.float64),
        old.vectors_ND[rows[known]].astype(np.float64),
        new.keys_N[known] % np.uint64(2) == 0,
    )


def _cosines(a_ND: np.ndarray, b_ND: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(a_ND, axis=1) * np.linalg.norm(b_ND, axis=1)
    return np.asarray((a_ND * b_ND).sum(axis=1) / np.maximum(lengths, 1e-12))
