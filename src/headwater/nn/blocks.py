"""Interaction blocks. Shape suffixes: B rows, T tokens in, S tokens out, E width of a token, V = T
x E.

Every block is made as `Block(tokens_in, tokens_out, width, hidden, heads)` and turns X_BTE into
Y_BSE, each row by itself. One of another package is named `"package:Class"`, or offered under the
entry-point group `headwater.block`; `headwater.testing.BlockContract` holds them all.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class MlpBlock(nn.Module):
    """Flatten, two linear layers, back to tokens: X_BTE -> Y_BSE."""

    def __init__(
        self, tokens_in: int, tokens_out: int, width: int, hidden: int, heads: int
    ) -> None:
        super().__init__()
        self.shape = (tokens_out, width)
        self.layers = nn.Sequential(
            nn.Flatten(1),
            nn.Linear(tokens_in * width, hidden),
            nn.ReLU(),
            nn.Linear(hidden, tokens_out * width),
        )

    def forward(self, x_BTE: Tensor) -> Tensor:
        out: Tensor = self.layers(x_BTE).unflatten(1, self.shape)
        return out


class MaskBlock(nn.Module):
    """MaskNet (Wang et al. 2021): mask = W2 relu(W1 v); y = relu(LN(W (LN(v) * mask))), v the
    flattened tokens.
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
        v = x_BTE.flatten(1)
        out: Tensor = torch.relu(self.norm_out(self.out(self.norm_in(v) * self.mask(v)))).unflatten(
            1, self.shape
        )
        return out


class MaskOnHidden(nn.Module):
    """The later block of a serial MaskNet: the mask is of v, what it multiplies is the block
    before: h' = relu(LN(W (h * mask(v)))).
    """

    def __init__(self, flat: int, hidden_in: int, hidden: int, out: int) -> None:
        super().__init__()
        self.mask = nn.Sequential(nn.Linear(flat, hidden), nn.ReLU(), nn.Linear(hidden, hidden_in))
        self.out, self.norm = nn.Linear(hidden_in, out), nn.LayerNorm(out)

    def forward(self, v_BV: Tensor, hidden_BH: Tensor) -> Tensor:
        return torch.relu(self.norm(self.out(hidden_BH * self.mask(v_BV))))


class SerialMaskBlock(nn.Module):
    """Serial MaskNet (Wang et al. 2021, figure 3): two mask blocks one after the other, each with
    its own mask of v.
    """

    def __init__(
        self, tokens_in: int, tokens_out: int, width: int, hidden: int, heads: int
    ) -> None:
        super().__init__()
        self.shape, flat = (tokens_out, width), tokens_in * width
        self.norm = nn.LayerNorm(flat)
        self.first = MaskOnHidden(flat, flat, hidden, hidden)
        self.second = MaskOnHidden(flat, hidden, hidden, tokens_out * width)

    def forward(self, x_BTE: Tensor) -> Tensor:
        v = x_BTE.flatten(1)
        return self.second(v, self.first(v, self.norm(v))).unflatten(1, self.shape)


class ParallelMaskBlock(nn.Module):
    """Parallel MaskNet (Wang et al. 2021, figure 4): two mask blocks side by side on v, joined,
    then one linear layer.
    """

    BRANCHES = 2

    def __init__(
        self, tokens_in: int, tokens_out: int, width: int, hidden: int, heads: int
    ) -> None:
        super().__init__()
        self.shape, flat = (tokens_out, width), tokens_in * width
        self.norm = nn.LayerNorm(flat)
        self.branches = nn.ModuleList(
            MaskOnHidden(flat, flat, hidden, hidden) for _ in range(self.BRANCHES)
        )
        self.join = nn.Linear(self.BRANCHES * hidden, tokens_out * width)

    def forward(self, x_BTE: Tensor) -> Tensor:
        v = x_BTE.flatten(1)
        normed = self.norm(v)
        out: Tensor = self.join(
            torch.cat([branch(v, normed) for branch in self.branches], dim=1)
        ).unflatten(1, self.shape)
        return out


class TransformerBlock(nn.Module):
    """One pre-norm encoder layer over the tokens, then a learned mix of tokens where their number
    changes.
    """

    def __init__(
        self, tokens_in: int, tokens_out: int, width: int, hidden: int, heads: int
    ) -> None:
        super().__init__()
        self.heads = heads
        self.norm_a, self.norm_b = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.feed = nn.Sequential(
            nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width)
        )
        self.mix = nn.Identity() if tokens_in == tokens_out else TokenMix(tokens_in, tokens_out)

    def forward(self, x_BTE: Tensor) -> Tensor:
        q, k, v = (
            self.qkv(self.norm_a(x_BTE)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        )
        attended = nn.functional.scaled_dot_product_attention(q, k, v)
        x_BTE = x_BTE + self.out(attended.transpose(1, 2).flatten(2))
        out: Tensor = self.mix(x_BTE + self.feed(self.norm_b(x_BTE)))
        return out


class TokenMix(nn.Module):
    """A learned linear map over the token axis: Y_BSE = W_ST X_BTE."""

    def __init__(self, tokens_in: int, tokens_out: int) -> None:
        super().__init__()
        self.weight_ST = nn.Parameter(torch.randn(tokens_out, tokens_in) / tokens_in**0.5)

    def forward(self, x_BTE: Tensor) -> Tensor:
        return torch.einsum("st,bte->bse", self.weight_ST, x_BTE)


class LinearBlock(TokenMix):
    """Linear compression (Zhang et al. 2024, Wukong): each token out is a learned sum of the tokens
    in, with no interaction at all.
    """

    def __init__(
        self, tokens_in: int, tokens_out: int, width: int, hidden: int, heads: int
    ) -> None:
        super().__init__(tokens_in, tokens_out)


class CrossNet(nn.Module):
    """DCNv2 (Wang et al. 2021), low rank: x_{l+1} = x_0 * (U_l V_l x_l + b_l) + x_l, on flat x [B,
    F].
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
    """DCNv2 (Wang et al. 2021), full rank: x_{l+1} = x_0 * (W_l x_l + b_l) + x_l, on flat x [B,
    F].
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
    """Two low-rank DCNv2 layers (see CrossNet) of rank hidden / 4 on the flattened tokens,
    projected back to tokens.
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
    """Two full-rank DCNv2 layers (see FullCrossNet) on the flattened tokens, projected back to
    tokens: dear where tokens are many.
    """

    def __init__(
        self, tokens_in: int, tokens_out: int, width: int, hidden: int, heads: int
    ) -> None:
        super().__init__()
        self.shape = (tokens_out, width)
        self.cross, self.out = (
            FullCrossNet(tokens_in * width, layers=2),
            nn.Linear(tokens_in * width, tokens_out * width),
        )

    def forward(self, x_BTE: Tensor) -> Tensor:
        out: Tensor = self.out(self.cross(x_BTE.flatten(1))).unflatten(1, self.shape)
        return out


BLOCKS: dict[str, type[nn.Module]] = {
    "masknet": MaskBlock,
    "masknet_serial": SerialMaskBlock,
    "masknet_parallel": ParallelMaskBlock,
    "transformer": TransformerBlock,
    "mlp": MlpBlock,
    "dcn": CrossBlock,
    "dcn_full": FullCrossBlock,
    "linear": LinearBlock,
}
