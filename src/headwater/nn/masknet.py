"""MaskNet blocks (Wang et al. 2021): a row's own mask over its features, one block or two.

Shape suffixes: B rows, T tokens in, E width of a token, V = T x E flat, H width of a hidden layer.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class MaskBlock(nn.Module):
    """One mask block: y = relu(LN(W (LN(v) * mask))), with mask = W2 relu(W1 v).

    v are the flattened tokens (MaskNet; Wang et al. 2021).
    """

    def __init__(
        self, tokens_in: int, tokens_out: int, width: int, hidden: int, heads: int
    ) -> None:
        super().__init__()
        self.shape = (tokens_out, width)
        flat = tokens_in * width
        self.norm_in = nn.LayerNorm(flat)
        self.mask = nn.Sequential(nn.Linear(flat, hidden), nn.ReLU(), nn.Linear(hidden, flat))
        self.out = nn.Linear(flat, tokens_out * width)
        self.norm_out = nn.LayerNorm(tokens_out * width)

    def forward(self, x_BTE: Tensor) -> Tensor:
        v_BV = x_BTE.flatten(1)
        masked_BV = self.norm_in(v_BV) * self.mask(v_BV)
        out: Tensor = torch.relu(self.norm_out(self.out(masked_BV)))
        return out.unflatten(1, self.shape)


class MaskOnHidden(nn.Module):
    """A later block of a MaskNet: h' = relu(LN(W (h * mask(v)))).

    The mask is of the features v, what it multiplies is the output h of the block before.
    """

    def __init__(self, flat: int, hidden_in: int, hidden: int, out: int) -> None:
        super().__init__()
        self.mask = nn.Sequential(nn.Linear(flat, hidden), nn.ReLU(), nn.Linear(hidden, hidden_in))
        self.out = nn.Linear(hidden_in, out)
        self.norm = nn.LayerNorm(out)

    def forward(self, v_BV: Tensor, hidden_BH: Tensor) -> Tensor:
        return torch.relu(self.norm(self.out(hidden_BH * self.mask(v_BV))))


class SerialMaskBlock(nn.Module):
    """Serial MaskNet (Wang et al. 2021, figure 3): two blocks in a row, each with its own mask."""

    def __init__(
        self, tokens_in: int, tokens_out: int, width: int, hidden: int, heads: int
    ) -> None:
        super().__init__()
        self.shape = (tokens_out, width)
        flat = tokens_in * width
        self.norm = nn.LayerNorm(flat)
        self.first = MaskOnHidden(flat, flat, hidden, hidden)
        self.second = MaskOnHidden(flat, hidden, hidden, tokens_out * width)

    def forward(self, x_BTE: Tensor) -> Tensor:
        v_BV = x_BTE.flatten(1)
        return self.second(v_BV, self.first(v_BV, self.norm(v_BV))).unflatten(1, self.shape)


class ParallelMaskBlock(nn.Module):
    """Parallel MaskNet (Wang et al. 2021, figure 4): two blocks side by side, then a linear layer.

    Both read v; their outputs are joined.
    """

    BRANCHES = 2

    def __init__(
        self, tokens_in: int, tokens_out: int, width: int, hidden: int, heads: int
    ) -> None:
        super().__init__()
        self.shape = (tokens_out, width)
        flat = tokens_in * width
        self.norm = nn.LayerNorm(flat)
        self.branches = nn.ModuleList(
            MaskOnHidden(flat, flat, hidden, hidden) for _ in range(self.BRANCHES)
        )
        self.join = nn.Linear(self.BRANCHES * hidden, tokens_out * width)

    def forward(self, x_BTE: Tensor) -> Tensor:
        v_BV = x_BTE.flatten(1)
        normed_BV = self.norm(v_BV)
        joined_BH = torch.cat([branch(v_BV, normed_BV) for branch in self.branches], dim=1)
        out: Tensor = self.join(joined_BH).unflatten(1, self.shape)
        return out
