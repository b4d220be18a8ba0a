"""Features into tokens. Shape suffixes: B rows, C categorical, K values of one cell, F numbers, D
vector width, E token.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from headwater.nn.tables import RowTable

NUMERIC_TOKENS = 2


class FeatureTensors(NamedTuple):
    """Encoded features of B rows; slot 0 and NaN mean missing."""

    categorical_BC: Tensor
    multi_BK: tuple[Tensor, ...]
    numeric_BF: Tensor
    vectors_BD: tuple[Tensor, ...]

    def rows(self, index: Tensor) -> FeatureTensors:
        return FeatureTensors(
            self.categorical_BC[index],
            tuple(m[index] for m in self.multi_BK),
            self.numeric_BF[index],
            tuple(v[index] for v in self.vectors_BD),
        )


LEAST_DEVIATION = 1e-6


class RunningNorm(nn.Module):
    """Centre and scale by the mean and variance of all rows `observe`d so far (Welford, batched);
    missing becomes 0.
    """

    count: Tensor
    mean: Tensor
    spread: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(features, dtype=torch.float64))
        self.register_buffer("mean", torch.zeros(features, dtype=torch.float64))
        self.register_buffer("spread", torch.zeros(features, dtype=torch.float64))

    @torch.no_grad()
    def observe(self, x_BF: Tensor) -> None:
        """Take in the rows of a past day."""
        present = ~x_BF.isnan()
        whole = bool(present.all())  # then nothing has to be left out: half the time
        n = torch.full_like(self.count, len(x_BF)) if whole else present.sum(0).double()
        x = (x_BF if whole else torch.where(present, x_BF, 0)).double()
        mean = x.sum(0) / n.clamp(min=1)
        off = (x - mean).square_()
        spread = (off if whole else torch.where(present, off, 0)).sum(0)
        total = (self.count + n).clamp(min=1)
        delta = mean - self.mean
        self.spread += torch.where(n > 0, spread + delta.square() * self.count * n / total, 0)
        self.mean += torch.where(n > 0, delta * n / total, 0)
        self.count += n

    def forward(self, x_BF: Tensor) -> Tensor:
        """x [B, F] -> [B, 2F]: the scaled values, then 1 where missing."""
        return torch.cat([self.scaled(x_BF), x_BF.isnan().float()], dim=1)

    def scaled(self, x_BF: Tensor) -> Tensor:
        """x [B, F] -> [B, F]: without the marks of what is missing, for data that misses
        nothing.
        """
        deviation = (self.spread / self.count.clamp(min=1)).sqrt()
        deviation = torch.maximum(
            deviation, LEAST_DEVIATION * self.mean.abs().clamp(min=1)
        )  # of a constant, float32's own noise stays small
        return ((x_BF - self.mean.float()) / deviation.float()).clamp_(-5, 5).nan_to_num_(0.0)


class Vocabulary(nn.Module):
    """A vocabulary learned day by day: 64-bit hashes (as int64; 0: missing) -> slots 0 (missing), 1
    (not known), 2... in the order learnt.

    A day's new values that come at least `min_count` times get the next free slots, the most
    frequent first, until `size` are known: the day's rows are `observe`d in as many pieces as one
    likes, then `learn`t.
    """

    hashes: Tensor
    slots: Tensor
    known: Tensor

    def __init__(self, size: int, min_count: int) -> None:
        super().__init__()
        self.min_count = min_count
        self.register_buffer(
            "hashes", torch.full((size,), torch.iinfo(torch.int64).max)
        )  # ascending; what is free lies at the end
        self.register_buffer("slots", torch.ones(size, dtype=torch.int64))
        self.register_buffer("known", torch.zeros((), dtype=torch.int64))
        self._counted: list[tuple[Tensor, Tensor]] = []

    @torch.no_grad()
    def observe(self, hashes_B: Tensor) -> None:
        """Count some values of a past day."""
        values, counts = torch.unique(hashes_B, return_counts=True)
        new = self(values) == 1
        self._counted.append((values[new], counts[new]))

    @torch.no_grad()
    def learn(self) -> None:
        """Admit the values counted since the last call."""
        if not self._counted:
            return
        found, tallies = (torch.cat(parts) for parts in zip(*self._counted, strict=True))
        self._counted = []
        values, place = torch.unique(found, return_inverse=True)
        counts = torch.zeros_like(values).index_add_(0, place, tallies)
        often = counts >= self.min_count
        values, counts = values[often], counts[often]
        room = len(self.hashes) - int(self.known)
        chosen = values[torch.sort(counts, descending=True, stable=True).indices[:room]]
        begin = int(self.known)
        self.hashes[begin : begin + len(chosen)] = chosen
        self.slots[begin : begin + len(chosen)] = (
            torch.arange(begin, begin + len(chosen), device=chosen.device) + 2
        )
        order = torch.sort(self.hashes, stable=True).indices
        self.hashes.copy_(self.hashes[order])
        self.slots.copy_(self.slots[order])
        self.known += len(chosen)

    def forward(self, hashes: Tensor) -> Tensor:
        place = torch.searchsorted(self.hashes, hashes.contiguous()).clamp(max=len(self.hashes) - 1)
        slots = torch.where(self.hashes[place] == hashes, self.slots[place], 1)
        return torch.where(hashes == 0, 0, slots)


class RunningQuantiles(nn.Module):
    """The rank of a number among all rows `observe`d so far, as a uniform of mean 0 and variance 1:
    sqrt(12) (rank - 1/2); missing becomes 0.

    `points` are kept of each feature's distribution; a day's are merged with them by weight, so the
    memory is the same on any day.
    """

    count: Tensor
    points: Tensor

    def __init__(self, features: int, points: int = 256) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(features, dtype=torch.float64))
        self.register_buffer("points", torch.zeros(features, points))

    @torch.no_grad()
    def observe(self, x_BF: Tensor) -> None:
        """Take in the rows of a past day."""
        levels = (
            torch.arange(self.points.shape[1], dtype=torch.float64, device=x_BF.device) + 0.5
        ) / self.points.shape[1]
        for feature in range(x_BF.shape[1]):
            today = x_BF[:, feature][~x_BF[:, feature].isnan()]
            before = float(self.count[feature])
            if len(today) == 0:
                continue
            old = self.points[feature] if before > 0 else today[:0]
            values, order = torch.sort(torch.cat([old, today]), stable=True)
            weights = torch.cat(
                [torch.full_like(old, before / max(1, len(old))), torch.ones_like(today)]
            ).double()[order]
            middles = weights.cumsum(0) - weights / 2
            places = torch.searchsorted(middles, levels * weights.sum()).clamp(max=len(values) - 1)
            self.points[feature] = values[places]
            self.count[feature] = before + len(today)

    def forward(self, x_BF: Tensor) -> Tensor:
        asked_FB = x_BF.nan_to_num().T.contiguous()
        below, upto = (
            torch.searchsorted(self.points, asked_FB, right=right) for right in (False, True)
        )
        ranks_BF = (below + upto).T / (2 * self.points.shape[1])
        known_BF = ~x_BF.isnan() & (self.count > 0)
        return torch.where(known_BF, (ranks_BF - 0.5) * 12**0.5, 0).float()


class FeatureTokens(nn.Module):
    """One token a categorical, multi-categorical and vector feature, two for all numbers together:
    -> [B, tokens, E].

    `vocabularies` are the categorical columns that come as hashes, with the least count of a new
    value; `quantiles` the numbers that are read by rank. Missing has a learnt token of its own:
    slot 0 of a table, a vector's own, a flag beside a number.
    """

    offsets: Tensor

    def __init__(
        self,
        categorical: Sequence[int],
        multi: Sequence[int],
        numeric: int,
        vectors: Sequence[int],
        width: int,
        vocabularies: Mapping[int, int] | None = None,
        quantiles: Sequence[int] = (),
    ) -> None:
        super().__init__()
        sizes = [*categorical, *multi]
        starts = torch.tensor([0, *sizes]).cumsum(0)
        self.register_buffer("offsets", starts[: len(categorical)], persistent=False)
        self.multi_offsets = [int(start) for start in starts[len(categorical) : len(sizes)]]
        self.width = width
        self.table = RowTable(int(starts[-1]), width) if sizes else None
        self.norm = RunningNorm(numeric) if numeric else None
        self.numeric = nn.Linear(2 * numeric, NUMERIC_TOKENS * width) if numeric else None
        self.vectors = nn.ModuleList(nn.Linear(size, width) for size in vectors)
        self.no_vector = nn.Parameter(torch.zeros(len(vectors), width)) if vectors else None
        self.columns = tuple((vocabularies or {}).items())
        self.vocabularies = nn.ModuleList(
            Vocabulary(categorical[column] - 2, least) for column, least in self.columns
        )
        self.ranked = list(quantiles)
        self.quantiles = RunningQuantiles(len(self.ranked)) if quantiles else None
        self.tokens = (
            len(categorical) + len(multi) + len(vectors) + (NUMERIC_TOKENS if numeric else 0)
        )

    def observe(self, x: FeatureTensors) -> None:
        """Take in some rows of a past day: scales, ranks, and what vocabularies count until they
        `learn`.
        """
        if self.norm is not None:
            self.norm.observe(x.numeric_BF)
        if self.quantiles is not None:
            self.quantiles.observe(x.numeric_BF[:, self.ranked])
        for (column, _), vocabulary in zip(self.columns, self.vocabularies, strict=True):
            vocabulary.observe(x.categorical_BC[:, column])  # type: ignore[operator]

    def learn(self) -> None:
        """All rows of a day were observed: let vocabularies admit its new values."""
        for vocabulary in self.vocabularies:
            vocabulary.learn()  # type: ignore[operator]

    def forward(self, x: FeatureTensors) -> Tensor:
        parts: list[Tensor] = []
        if self.table is not None:
            parts += self._looked_up(x)
        for place, (project, vector_BD) in enumerate(zip(self.vectors, x.vectors_BD, strict=True)):
            assert self.no_vector is not None
            missing_B1 = vector_BD.isnan().all(1, keepdim=True)
            parts.append(
                torch.where(
                    missing_B1, self.no_vector[place], project(vector_BD.nan_to_num())
                ).unsqueeze(1)
            )
        if self.numeric is not None:
            parts.append(
                self.numeric(self._numbers(x.numeric_BF)).unflatten(1, (NUMERIC_TOKENS, self.width))
            )
        if not parts:
            return x.numeric_BF.new_zeros(len(x.numeric_BF), 0, self.width)
        return torch.cat(parts, dim=1)

    def _numbers(self, x_BF: Tensor) -> Tensor:
        assert self.norm is not None
        out_BG: Tensor = self.norm(x_BF)
        if self.quantiles is not None:
            out_BG = out_BG.clone()
            out_BG[:, self.ranked] = self.quantiles(x_BF[:, self.ranked])
        return out_BG

    def _looked_up(self, x: FeatureTensors) -> list[Tensor]:
        """One table look-up for all ids of the batch; several values of one cell are averaged."""
        assert self.table is not None
        slots_BC = x.categorical_BC
        if self.columns:
            slots_BC = slots_BC.clone()
            for (column, _), vocabulary in zip(self.columns, self.vocabularies, strict=True):
                slots_BC[:, column] = vocabulary(slots_BC[:, column])
        columns = [slots_BC + self.offsets]
        columns += [
            values + start for values, start in zip(x.multi_BK, self.multi_offsets, strict=True)
        ]
        rows = self.table(torch.cat(columns, dim=1))
        first = x.categorical_BC.shape[1]
        parts = [rows[:, :first]] if first else []
        for values_BK in x.multi_BK:
            cell = rows[:, first : first + values_BK.shape[1]]
            present_BK = values_BK != 0
            weight = present_BK.float()
            weight[:, 0] += (~present_BK.any(1)).float()  # an empty cell reads slot 0, "missing"
            parts.append(
                (cell * weight.unsqueeze(2)).sum(1, keepdim=True) / weight.sum(1)[:, None, None]
            )
            first += values_BK.shape[1]
        return parts
