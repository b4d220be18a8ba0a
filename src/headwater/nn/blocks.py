"""Interaction blocks of a DHEN, and the names they go by.

Every block is made as `Block(tokens_in, tokens_out, width, hidden, heads)` and turns X_BTE into
Y_BSE, each row by itself. One of another package is named `"package:Class"`, or offered under the
entry-point group `headwater.block`; `headwater.testing.BlockContract` holds them all.

Shape suffixes: B rows, T tokens in, S tokens out, E width of a token.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from headwater.nn.attention import attention
from headwater.nn.cross import CrossBlock, FullCrossBlock
from headwater.nn.masknet import MaskBlock, ParallelMaskBlock, SerialMaskBlock


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


class TokenMix(nn.Module):
    """A learned linear map over the token axis: Y_BSE = W_ST X_BTE."""

    def __init__(self, tokens_in: int, tokens_out: int) -> None:
        super().__init__()
        self.weight_ST = nn.Parameter(torch.randn(tokens_out, tokens_in) / tokens_in**0.5)

    def forward(self, x_BTE: Tensor) -> Tensor:
        return torch.einsum("st,bte->bse", self.weight_ST, x_BTE)


class LinearBlock(TokenMix):
    """Linear compression: each token out is a learned sum of the tokens in, with no interaction.

    Zhang et al. 2024 (Wukong).
    """

    def __init__(
        self, tokens_in: int, tokens_out: int, width: int, hidden: int, heads: int
    ) -> None:
        super().__init__(tokens_in, tokens_out)


class TransformerBlock(nn.Module):
    """One pre-norm encoder layer over the tokens.

    Where the number of tokens changes, a learned mix of them follows. Tokens that are not `there`
    [B, T] are not attended to.
    """

    def __init__(
        self, tokens_in: int, tokens_out: int, width: int, hidden: int, heads: int
    ) -> None:
        super().__init__()
        self.heads = heads
        self.norm_a = nn.LayerNorm(width)
        self.norm_b = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.feed = nn.Sequential(
            nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width)
        )
        self.mix = nn.Identity() if tokens_in == tokens_out else TokenMix(tokens_in, tokens_out)

    def forward(self, x_BTE: Tensor, there_BT: Tensor | None = None) -> Tensor:
        qkv = self.qkv(self.norm_a(x_BTE)).unflatten(2, (3, self.heads, -1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        attended = attention(q, k, v, None if there_BT is None else there_BT[:, None, None])
        x_BTE = x_BTE + self.out(attended.transpose(1, 2).flatten(2))
        out: Tensor = self.mix(x_BTE + self.feed(self.norm_b(x_BTE)))
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
