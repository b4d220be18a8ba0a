"""Features into tokens.

Shape suffixes: B rows, C categorical features, K values of one cell, F numbers, G numbers with
their marks of what is missing, D width of a vector, E width of a token.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from headwater.nn.quantiles import RunningQuantiles
from headwater.nn.scaling import RunningNorm
from headwater.nn.tables import RowTable
from headwater.nn.vocabulary import Vocabulary

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


class FeatureTokens(nn.Module):
    """A token for every categorical, multi-categorical and vector feature, two for all numbers.

    Features become [B, tokens, E]. `categorical` and `multi` are the sizes of tables, `numeric` is
    a number of numbers, `vectors` are widths. `vocabularies` are the categorical columns that come
    as hashes, with the least count of a new value; `quantiles` the numbers that are read by rank.
    Missing has a learnt token of its own: slot 0 of a table, a vector's own, a flag beside a
    number.
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
        """Take in some rows of a past day: scales, ranks, and counts of a vocabulary's values."""
        if self.norm is not None:
            self.norm.observe(x.numeric_BF)
        if self.quantiles is not None:
            self.quantiles.observe(x.numeric_BF[:, self.ranked])
        for (column, _), vocabulary in zip(self.columns, self.vocabularies, strict=True):
            vocabulary.observe(x.categorical_BC[:, column])  # type: ignore[operator]

    def learn(self) -> None:
        """All rows of a day were observed: ranks take them in, vocabularies admit new values, and
        the day ends for scales.
        """
        if self.norm is not None:
            self.norm.learn()
        if self.quantiles is not None:
            self.quantiles.learn()
        for vocabulary in self.vocabularies:
            vocabulary.learn()  # type: ignore[operator]

    def forward(self, x: FeatureTensors) -> Tensor:
        parts: list[Tensor] = []
        if self.table is not None:
            parts += self._looked_up(x)
        parts += self._projected(x.vectors_BD)
        if self.numeric is not None:
            numbers = self.numeric(self._numbers(x.numeric_BF))
            parts.append(numbers.unflatten(1, (NUMERIC_TOKENS, self.width)))
        if not parts:
            return x.numeric_BF.new_zeros(len(x.numeric_BF), 0, self.width)
        return torch.cat(parts, dim=1)

    def _projected(self, vectors_BD: Sequence[Tensor]) -> list[Tensor]:
        """A token [B, 1, E] of each vector; a missing one has a learnt token."""
        parts: list[Tensor] = []
        for place, (project, vector_BD) in enumerate(zip(self.vectors, vectors_BD, strict=True)):
            assert self.no_vector is not None
            missing_B1 = vector_BD.isnan().all(1, keepdim=True)
            known_BE = project(vector_BD.nan_to_num())
            parts.append(torch.where(missing_B1, self.no_vector[place], known_BE).unsqueeze(1))
        return parts

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
        columns = [self._slots(x.categorical_BC) + self.offsets]
        columns += [
            values + start for values, start in zip(x.multi_BK, self.multi_offsets, strict=True)
        ]
        rows = self.table(torch.cat(columns, dim=1))
        first = x.categorical_BC.shape[1]
        parts = [rows[:, :first]] if first else []
        for values_BK in x.multi_BK:
            cell_BKE = rows[:, first : first + values_BK.shape[1]]
            parts.append(_mean_of_present(cell_BKE, values_BK != 0))
            first += values_BK.shape[1]
        return parts

    def _slots(self, categorical_BC: Tensor) -> Tensor:
        """Slots of the categorical values; vocabularies look up what comes as hashes."""
        if not self.columns:
            return categorical_BC
        slots_BC = categorical_BC.clone()
        for (column, _), vocabulary in zip(self.columns, self.vocabularies, strict=True):
            slots_BC[:, column] = vocabulary(slots_BC[:, column])
        return slots_BC


def _mean_of_present(cell_BKE: Tensor, present_BK: Tensor) -> Tensor:
    """Mean [B, 1, E] of the values that a cell holds."""
    weight_BK = present_BK.float()
    weight_BK[:, 0] += (~present_BK.any(1)).float()  # an empty cell reads slot 0, "missing"
    total_B1E = (cell_BKE * weight_BK.unsqueeze(2)).sum(1, keepdim=True)
    return total_B1E / weight_BK.sum(1)[:, None, None]
