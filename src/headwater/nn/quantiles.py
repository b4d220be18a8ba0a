"""Numbers as their rank among past days. Shapes: B rows, F numbers, K points, M distinct values."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from headwater.nn.scaling import LEAST_WEIGHT, kept_a_day

LARGEST = torch.finfo(torch.float32).max


class RunningQuantiles(nn.Module):
    """The rank of a number among the rows of past days, of mean 0 and variance 1.

    It is a uniform number, sqrt(12) (rank - 1/2); missing becomes 0, and equal numbers have the
    middle of their ranks. The rank is that among all rows of the days that were `learn`t, where a
    row weighs half as much as one of `half_life_days` later (days without any row do not count): so
    ranks stay uniform while a number drifts for years, and move so slowly that the weights behind
    them follow.

    Of each feature's distribution `points` values are kept with their weights, so the memory is the
    same on any day. A day's values are joined with them and cut into `points` stretches of equal
    weight; of each the weighted median stays, for all of it: clusters of one size, as of the
    t-digest with scale function k_0 (Dunning and Ertl 2019), with medians instead of means, so that
    ties stay ties. That moves a rank by at most 1 / points, and what was moved is forgotten with
    the rows: in all by at most 1 / (points (1 - 2^(-1 / half_life_days))), if all errors ever made
    were the largest and of one sign. On a year of drift it is below .003.

    A day's rows are `observe`d in as many pieces as one likes and in any order: they are only
    counted before `learn` takes them in, so that the same rows give the same bytes.
    """

    points: Tensor  # ascending; what is free lies at the end, as infinite
    upto: Tensor  # weight of the rows up to each point, itself included

    def __init__(self, features: int, points: int = 1024, half_life_days: float = 30.0) -> None:
        super().__init__()
        self.kept = kept_a_day(half_life_days)
        self.register_buffer("points", torch.full((features, points), torch.inf))
        self.register_buffer("upto", torch.zeros(features, points, dtype=torch.float64))
        self._counted: list[list[tuple[Tensor, Tensor]]] = [[] for _ in range(features)]

    @torch.no_grad()
    def observe(self, x_BF: Tensor) -> None:
        """Count some rows of a past day."""
        x_BF = x_BF.clamp(-LARGEST, LARGEST) + 0.0  # of two zeros, one
        for column_B, counted in zip(x_BF.T, self._counted, strict=True):
            values_M, counts_M = torch.unique(column_B[~column_B.isnan()], return_counts=True)
            counted.append((values_M.cpu(), counts_M.cpu()))

    @torch.no_grad()
    def learn(self) -> None:
        """Take in the rows counted since the last call, as one day."""
        for feature, counted in enumerate(self._counted):
            if sum(len(values_M) for values_M, _ in counted):
                values, counts = (torch.cat(parts) for parts in zip(*counted, strict=True))
                self._merge(feature, *_distinct(values, counts))
        self._counted = [[] for _ in self._counted]

    def _merge(self, feature: int, today_M: Tensor, counts_M: Tensor) -> None:
        """Join a feature's points, each a little lighter, with a day's distinct values."""
        upto_K = self.upto[feature].cpu()
        weights_K = upto_K.diff(prepend=upto_K.new_zeros(1)) * self.kept
        held = weights_K > 0
        values_M, weights_M = _distinct(
            torch.cat([self.points[feature].cpu()[held], today_M]),
            torch.cat([weights_K[held], counts_M.double()]),
        )
        points = self.points.shape[1]
        values, upto = _thinned(values_M, weights_M, points)
        free = points - len(values)
        self.points[feature] = nn.functional.pad(values, (0, free), value=torch.inf)
        self.upto[feature] = torch.cat([upto, upto[-1:].expand(free)])

    def forward(self, x_BF: Tensor) -> Tensor:
        """x [B, F] -> [B, F]."""
        asked_FB = x_BF.nan_to_num().T.contiguous()
        below_FB = torch.searchsorted(self.points, asked_FB, right=False)
        within_FB = torch.searchsorted(self.points, asked_FB, right=True)
        reached = nn.functional.pad(self.upto, (1, 0))
        weights_FB = reached.gather(1, below_FB) + reached.gather(1, within_FB)
        total_F = self.upto[:, -1]
        ranks_BF = (weights_FB / (2 * total_F.clamp(min=LEAST_WEIGHT))[:, None]).T
        known_BF = ~x_BF.isnan() & (total_F > 0)
        return torch.where(known_BF, (ranks_BF - 0.5) * 12**0.5, 0).float()


def _distinct(values: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Each value once, ascending, and what its rows weigh together."""
    distinct_M, place = torch.unique(values, return_inverse=True)
    return distinct_M, weights.new_zeros(len(distinct_M)).index_add_(0, place, weights)


def _thinned(values_M: Tensor, weights_M: Tensor, points: int) -> tuple[Tensor, Tensor]:
    """At most `points` of some ascending values, and the weight up to each, its stretch's whole."""
    upto_M = weights_M.cumsum(0)
    if len(values_M) <= points:
        return values_M, upto_M
    stretch_M = ((upto_M - weights_M / 2) / upto_M[-1] * points).long().clamp(max=points - 1)
    last = torch.cat([stretch_M.diff(), stretch_M.new_ones(1)]).nonzero()[:, 0]
    ends = upto_M[last]
    middles = (nn.functional.pad(ends[:-1], (1, 0)) + ends) / 2
    return values_M[torch.searchsorted(upto_M, middles)], ends
