"""How a consumer reads embeddings: looked up in a View, projected on its own side.

With each vector come a flag of whether it was there, and its age. Shape suffixes: N or B rows, D
width of a vector, K steps of a sequence, F width after the projection.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from headwater.config import ProjectionConfig
from headwater.embeddings import Served, View
from headwater.errors import SpaceMismatch
from headwater.evaluation import Variant
from headwater.events import Examples
from headwater.models.training import day_seed
from headwater.nn import SeededDropout


class EmbeddingTensors(NamedTuple):
    """One served embedding of B rows.

    The age is log(1 + days since last seen). Under a policy that serves sequences there are the
    last K vectors, newest first, and which of them are there.
    """

    vectors_BD: Tensor
    found_B1: Tensor
    age_B1: Tensor
    sequence_BKD: Tensor | None = None
    there_BK: Tensor | None = None

    def rows(self, index: Tensor) -> EmbeddingTensors:
        return EmbeddingTensors(*(None if part is None else part[index] for part in self))  # type: ignore[arg-type]


class LookedUpOnce:
    """A view of which several variants read the same rows."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._served: dict[str, Served | None] = {}

    @property
    def day(self) -> dt.date:
        return self._view.day

    def read(self, name: str, keys_N: np.ndarray, rows_of: dt.date) -> Served | None:
        """See `View.read`; the rows are the same in every call."""
        if name not in self._served:
            self._served[name] = self._view.read(name, keys_N, rows_of)
        return self._served[name]


def read_embeddings(
    view: View, variant: Variant, rows: Examples, widths: Mapping[str, int], seed: int
) -> dict[str, EmbeddingTensors]:
    """What `view` serves to `rows`, by embedding name.

    Of a shuffled embedding each day's entries (vector, flag and age together) are dealt out to the
    wrong entities, for each `seed` to others, so that all that is left of it is noise. Raises
    LeakError (see View.read) and SpaceMismatch.
    """
    read: dict[str, EmbeddingTensors] = {}
    spaces: dict[str, object] = {}
    for position, name in enumerate(variant.embeddings):
        upstream, entity = name.rsplit("_", 1)
        keys = rows.keys[entity]
        served = view.read(name, keys, rows.day)
        if served is None:
            read[name] = _nothing(len(rows), widths[name])
            continue
        if spaces.setdefault(upstream, served.space) != served.space:
            raise SpaceMismatch(
                f"{name} of {rows.day} lives in {served.space}, its pair in {spaces[upstream]}."
            )
        if name in variant.shuffled:
            served = _dealt_out(served, keys, day_seed(seed, rows.day, position))
        read[name] = _tensors(served)
    return read


def one_after_the_other(
    reads: Sequence[Mapping[str, EmbeddingTensors]],
) -> dict[str, EmbeddingTensors]:
    """The same embeddings as several read them: [several x N] rows."""
    if len(reads) == 1:
        return dict(reads[0])
    return {name: _joined([read[name] for read in reads]) for name in reads[0]}


def _joined(parts: Sequence[EmbeddingTensors]) -> EmbeddingTensors:
    columns = [
        None if column[0] is None else torch.cat(column) for column in zip(*parts, strict=True)
    ]
    return EmbeddingTensors(*columns)  # type: ignore[arg-type]


def _nothing(rows: int, width: int) -> EmbeddingTensors:
    """What is read before the first edition."""
    return EmbeddingTensors(torch.zeros(rows, width), torch.zeros(rows, 1), torch.zeros(rows, 1))


def _tensors(served: Served) -> EmbeddingTensors:
    return EmbeddingTensors(
        torch.from_numpy(served.vectors_ND),
        torch.from_numpy(served.found_N.astype(np.float32)[:, None]),
        torch.from_numpy(_ages(served)),
        *_sequence(served),
    )


def _ages(served: Served) -> np.ndarray:
    """log(1 + days since last seen), [N, 1], the day before counting as none.

    A vector of content alone (age -1) is made anew every day.
    """
    return np.log1p(np.maximum(served.age_days_N - 1, 0)).astype(np.float32)[:, None]


def _dealt_out(served: Served, keys_N: np.ndarray, seed: int) -> Served:
    distinct, first, place = np.unique(keys_N, return_index=True, return_inverse=True)
    source = first[np.random.default_rng(seed).permutation(len(distinct))][place]
    sequence = None if served.sequence_NKD is None else served.sequence_NKD[source]
    steps = None if served.steps_N is None else served.steps_N[source]
    return Served(
        served.space,
        served.vectors_ND[source],
        served.found_N[source],
        served.age_days_N[source],
        sequence,
        steps,
    )


def _sequence(served: Served) -> tuple[Tensor, Tensor] | tuple[()]:
    if served.sequence_NKD is None or served.steps_N is None:
        return ()
    there_NK = np.arange(served.sequence_NKD.shape[1])[None, :] < served.steps_N[:, None]
    return torch.from_numpy(served.sequence_NKD), torch.from_numpy(there_NK)


class Projection(nn.Module):
    """[LayerNorm, dropout] and a linear map to a few numbers, or no map at all.

    Zero where there is no vector. A sequence is mapped step by step and pooled by attention over
    what each step says and how recent it is.
    """

    MOST_STEPS = 64

    def __init__(self, width: int, config: ProjectionConfig) -> None:
        super().__init__()
        before = [nn.LayerNorm(width), SeededDropout(config.dropout)] if config.norm else []
        self.width = width if config.width is None else config.width
        maps = [] if config.width is None else [nn.Linear(width, config.width)]
        self.layers = nn.Sequential(*before, *maps)
        # zeros: at first, a mean
        self.says = nn.Parameter(torch.zeros(self.width))
        self.recent = nn.Parameter(torch.zeros(self.MOST_STEPS))

    def forward(self, x: EmbeddingTensors) -> Tensor:
        if x.sequence_BKD is not None and x.there_BK is not None:
            steps_BKF = self.layers(x.sequence_BKD)
            scores_BK = steps_BKF @ self.says + self.recent[: steps_BKF.shape[1]]
            shares_BK = scores_BK.masked_fill(~x.there_BK, -1e9).softmax(1)
            pooled: Tensor = (shares_BK.unsqueeze(2) * steps_BKF).sum(1) * x.found_B1
            return pooled
        out: Tensor = self.layers(x.vectors_BD) * x.found_B1
        return out


class EmbeddingReader(nn.Module):
    """All embeddings of a variant -> [B, width].

    They are read as projections, flags, ages, and the cosine of each user-item pair of one space.
    """

    def __init__(
        self, names: Sequence[str], widths: Mapping[str, int], config: ProjectionConfig
    ) -> None:
        super().__init__()
        self.names = tuple(names)
        projections = {name: Projection(widths[name], config) for name in names}
        self.projections = nn.ModuleDict(projections)
        upstreams = dict.fromkeys(name.rsplit("_", 1)[0] for name in names)
        self.pairs = tuple(
            up for up in upstreams if f"{up}_user" in names and f"{up}_item" in names
        )
        self.width = sum(part.width + 2 for part in projections.values()) + len(self.pairs)

    def forward(self, read: Mapping[str, EmbeddingTensors]) -> Tensor:
        parts: list[Tensor] = []
        for name in self.names:
            x = read[name]
            parts += [self.projections[name](x), x.found_B1, x.age_B1]
        parts += [self.cosine(read, upstream) for upstream in self.pairs]
        return torch.cat(parts, dim=1)

    @staticmethod
    def cosine(read: Mapping[str, EmbeddingTensors], upstream: str) -> Tensor:
        """Cosine [B, 1] of a user's and an item's vector, times 12."""
        user_BD = read[f"{upstream}_user"].vectors_BD
        item_BD = read[f"{upstream}_item"].vectors_BD
        return 12 * nn.functional.cosine_similarity(user_BD, item_BD, dim=1).unsqueeze(1)
