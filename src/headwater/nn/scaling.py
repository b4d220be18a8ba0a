"""Numbers on one scale, by what was seen of them on past days. Shapes: B rows, F numbers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

LEAST_DEVIATION = 1e-6
LEAST_WEIGHT = 1e-300  # of nothing


def kept_a_day(half_life_days: float) -> float:
    """What a row's weight is times after a day: half after the half-life."""
    return float(2.0 ** (-1 / half_life_days))


class RunningNorm(nn.Module):
    """Centre and scale by the mean and variance of the rows `observe`d so far.

    A row weighs half as much as one of `half_life_days` later: with every `learn` a day ends (days
    without any row of a number do not count). So a number that drifts for years keeps its spread,
    and one whose level jumps is of use again within days. Missing becomes 0, and is not counted;
    nor is an infinite number, which would spoil both for good. Means and variances are merged
    (Welford, batched).
    """

    count: Tensor
    mean: Tensor
    spread: Tensor

    def __init__(self, features: int, half_life_days: float = 30.0) -> None:
        super().__init__()
        self.kept = kept_a_day(half_life_days)
        self._seen_today: Tensor | None = None
        self.register_buffer("count", torch.zeros(features, dtype=torch.float64))
        self.register_buffer("mean", torch.zeros(features, dtype=torch.float64))
        self.register_buffer("spread", torch.zeros(features, dtype=torch.float64))

    @torch.no_grad()
    def observe(self, x_BF: Tensor) -> None:
        """Take in the rows of a past day."""
        present = x_BF.isfinite()
        whole = bool(present.all())  # then nothing has to be left out: half the time
        n = torch.full_like(self.count, len(x_BF)) if whole else present.sum(0).double()
        x = (x_BF if whole else torch.where(present, x_BF, 0)).double()
        mean = x.sum(0) / n.clamp(min=1)
        off = (x - mean).square_()
        spread = (off if whole else torch.where(present, off, 0)).sum(0)
        total = (self.count + n).clamp(min=LEAST_WEIGHT)
        delta = mean - self.mean
        self.spread += torch.where(n > 0, spread + delta.square() * self.count * n / total, 0)
        self.mean += torch.where(n > 0, delta * n / total, 0)
        self.count += n
        before = self._seen_today
        self._seen_today = n > 0 if before is None else before | (n > 0)

    @torch.no_grad()
    def learn(self) -> None:
        """All rows of a day were observed: let them weigh a little less than the next day's."""
        if self._seen_today is not None:
            for sums in (self.count, self.spread):
                sums.copy_(torch.where(self._seen_today, sums * self.kept, sums))
        self._seen_today = None

    def forward(self, x_BF: Tensor) -> Tensor:
        """x [B, F] -> [B, 2F]: the scaled values, then 1 where missing."""
        return torch.cat([self.scaled(x_BF), x_BF.isnan().float()], dim=1)

    def scaled(self, x_BF: Tensor) -> Tensor:
        """x [B, F] -> [B, F]: the scaled values alone, for data that misses nothing."""
        deviation = (self.spread / self.count.clamp(min=LEAST_WEIGHT)).sqrt()
        # of a constant, float32's own noise stays small
        least = LEAST_DEVIATION * self.mean.abs().clamp(min=1)
        deviation = torch.maximum(deviation, least)
        return ((x_BF - self.mean.float()) / deviation.float()).clamp(-5, 5).nan_to_num_(0.0)
