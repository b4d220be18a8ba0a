"""Numbers on one scale, by what was seen of them on past days. Shapes: B rows, F numbers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

LEAST_DEVIATION = 1e-6


class RunningNorm(nn.Module):
    """Centre and scale by the mean and variance of all rows `observe`d so far.

    Missing becomes 0. Means and variances are merged day by day (Welford, batched).
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
        """x [B, F] -> [B, F]: the scaled values alone, for data that misses nothing."""
        deviation = (self.spread / self.count.clamp(min=1)).sqrt()
        # of a constant, float32's own noise stays small
        least = LEAST_DEVIATION * self.mean.abs().clamp(min=1)
        deviation = torch.maximum(deviation, least)
        return ((x_BF - self.mean.float()) / deviation.float()).clamp(-5, 5).nan_to_num_(0.0)


class RunningQuantiles(nn.Module):
    """The rank of a number among all rows `observe`d so far, of mean 0 and variance 1.

    It is a uniform number, sqrt(12) (rank - 1/2); missing becomes 0. `points` are kept of each
    feature's distribution; a day's are merged with them by weight, so the memory is the same on any
    day.
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
        points = self.points.shape[1]
        levels = (torch.arange(points, dtype=torch.float64, device=x_BF.device) + 0.5) / points
        for feature, column_B in enumerate(x_BF.T):
            today = column_B[~column_B.isnan()]
            if len(today):
                self._merge(feature, today, levels)

    def _merge(self, feature: int, today: Tensor, levels: Tensor) -> None:
        """Join the points of a feature, as heavy as all rows before, with today's rows."""
        before = float(self.count[feature])
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
        below_FB = torch.searchsorted(self.points, asked_FB, right=False)
        upto_FB = torch.searchsorted(self.points, asked_FB, right=True)
        ranks_BF = (below_FB + upto_FB).T / (2 * self.points.shape[1])
        known_BF = ~x_BF.isnan() & (self.count > 0)
        return torch.where(known_BF, (ranks_BF - 0.5) * 12**0.5, 0).float()
