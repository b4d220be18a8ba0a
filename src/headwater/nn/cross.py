"""Cross networks (DCNv2; Wang et al. 2021), of low and of full rank, and the blocks made of them.

Shape suffixes: B rows, T tokens in, E width of a token, F flat width.
"""

from __future__ import annotations

from torch import Tensor, nn


class CrossNet(nn.Module):
    """DCNv2 of low rank: x_{l+1} = x_0 * (U_l V_l x_l + b_l) + x_l, on flat x [B, F].

    Wang et al. 2021.
    """

    def __init__(self, width: int, layers: int, rank: int) -> None:
        super().__init__()
        self.down = nn.ModuleList(nn.Linear(width, rank, bias=False) for _ in range(layers))
        self.up = nn.ModuleList(nn.Linear(rank, width) for _ in range(layers))

    def forward(self, x0_BF: Tensor) -> Tensor:
        x_BF = x0_BF
        for down, up in zip(self.down, self.up, strict=True):
            x_BF = x0_BF * up(down(x_BF)) + x_BF
        return x_BF


class FullCrossNet(nn.Module):
    """DCNv2 of full rank: x_{l+1} = x_0 * (W_l x_l + b_l) + x_l, on flat x [B, F].

    Wang et al. 2021.
    """

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))

    def forward(self, x0_BF: Tensor) -> Tensor:
        x_BF = x0_BF
        for layer in self.layers:
            x_BF = x0_BF * layer(x_BF) + x_BF
        return x_BF


class CrossBlock(nn.Module):
    """Two low-rank DCNv2 layers on the flattened tokens, projected back to tokens.

    The rank is hidden / 4; see CrossNet.
    """

    def __init__(
        self, tokens_in: int, tokens_out: int, width: int, hidden: int, heads: int
    ) -> None:
        super().__init__()
        self.shape = (tokens_out, width)
        self.cross = CrossNet(tokens_in * width, layers=2, rank=max(1, hidden // 4))
        self.out = nn.Linear(tokens_in * width, tokens_out * width)

    def forward(self, x_BTE: Tensor) -> Tensor:
        out: Tensor = self.out(self.cross(x_BTE.flatten(1))).unflatten(1, self.shape)
        return out


class FullCrossBlock(nn.Module):
    """Two full-rank DCNv2 layers on the flattened tokens, projected back to tokens.

    Dear where tokens are many: each layer has (T x E)^2 weights; see FullCrossNet.
    """

    def __init__(
        self, tokens_in: int, tokens_out: int, width: int, hidden: int, heads: int
    ) -> None:
        super().__init__()
        self.shape = (tokens_out, width)
        self.cross = FullCrossNet(tokens_in * width, layers=2)
        self.out = nn.Linear(tokens_in * width, tokens_out * width)

    def forward(self, x_BTE: Tensor) -> Tensor:
        out: Tensor = self.out(self.cross(x_BTE.flatten(1))).unflatten(1, self.shape)
        return out
