"""Features into tokens. Shape suffixes: B rows, C categorical, K values of one cell, F numbers, D vector width, E token."""

from __future__ import annotations

from collections.abc import Sequence
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
            self.categorical_BC[index], tuple(m[index] for m in self.multi_BK), self.numeric_BF[index],
            tuple(v[index] for v in self.vectors_BD),
        )  # fmt: skip


class RunningNorm(nn.Module):
    """Centre and scale by the mean and variance of all rows `observe`d so far (Welford, batched); missing becomes 0."""

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
        n = present.sum(0).double()
        x = torch.where(present, x_BF, 0).double()
        mean = x.sum(0) / n.clamp(min=1)
        spread = torch.where(present, (x - mean).square(), 0).sum(0)
        total = (self.count + n).clamp(min=1)
        delta = mean - self.mean
        self.spread += torch.where(n > 0, spread + delta.square() * self.count * n / total, 0)
        self.mean += torch.where(n > 0, delta * n / total, 0)
        self.count += n

    def forward(self, x_BF: Tensor) -> Tensor:
        """x [B, F] -> [B, 2F]: the scaled values, then 1 where missing."""
        missing = x_BF.isnan()
        deviation = (self.spread / self.count.clamp(min=1)).sqrt().clamp(min=1e-3)
        scaled = ((x_BF - self.mean.float()) / deviation.float()).clamp(-5, 5)
        return torch.cat([torch.where(missing, 0, scaled), missing.float()], dim=1)


class FeatureTokens(nn.Module):
    """One token a categorical, multi-categorical and vector feature, two for all numbers together: -> [B, tokens, E]."""

    offsets: Tensor

    def __init__(self, categorical: Sequence[int], multi: Sequence[int], numeric: int, vectors: Sequence[int], width: int) -> None:
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
        self.tokens = len(categorical) + len(multi) + len(vectors) + (NUMERIC_TOKENS if numeric else 0)

    def observe(self, x: FeatureTensors) -> None:
        if self.norm is not None:
            self.norm.observe(x.numeric_BF)

    def forward(self, x: FeatureTensors) -> Tensor:
        parts: list[Tensor] = []
        if self.table is not None:
            parts += self._looked_up(x)
        for project, vector_BD in zip(self.vectors, x.vectors_BD, strict=True):
            parts.append(project(vector_BD.nan_to_num()).unsqueeze(1))
        if self.numeric is not None and self.norm is not None:
            parts.append(self.numeric(self.norm(x.numeric_BF)).unflatten(1, (NUMERIC_TOKENS, self.width)))
        if not parts:
            return x.numeric_BF.new_zeros(len(x.numeric_BF), 0, self.width)
        return torch.cat(parts, dim=1)

    def _looked_up(self, x: FeatureTensors) -> list[Tensor]:
        """One table look-up for all ids of the batch; several values of one cell are averaged."""
        assert self.table is not None
        columns = [x.categorical_BC + self.offsets]
        columns += [values + start for values, start in zip(x.multi_BK, self.multi_offsets, strict=True)]
        rows = self.table(torch.cat(columns, dim=1))
        first = x.categorical_BC.shape[1]
        parts = [rows[:, :first]] if first else []
        for values_BK in x.multi_BK:
            cell = rows[:, first : first + values_BK.shape[1]]
            weight = (values_BK != 0).unsqueeze(2).float()
            parts.append((cell * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True).clamp(min=1))
            first += values_BK.shape[1]
        return parts
