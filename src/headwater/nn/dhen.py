"""DHEN: layers of interaction blocks side by side (Zhang et al. 2022, arXiv 2203.11014)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from headwater.nn.blocks import BLOCKS, TokenMix
from headwater.plugins import resolve

DERM_LAYERS = (("masknet", "mlp"), ("transformer", "mlp"))


class DhenLayer(nn.Module):
    """Y = Norm(sum_i Block_i(X) + ShortCut(X)); the shortcut is a learned token mix where the number of tokens changes."""

    def __init__(self, blocks: Sequence[str], tokens_in: int, tokens_out: int, width: int, hidden: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            resolve("headwater.block", BLOCKS, name)(tokens_in, tokens_out, width, hidden, heads) for name in blocks
        )
        self.shortcut = nn.Identity() if tokens_in == tokens_out else TokenMix(tokens_in, tokens_out)
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BTE: Tensor) -> Tensor:
        total = self.shortcut(x_BTE)
        for block in self.blocks:
            total = total + self.dropout(block(x_BTE))
        out: Tensor = self.norm(total)
        return out


class Dhen(nn.Module):
    """The DERM stack: [MaskNet | MLP], then [Transformer | MLP]; halves its way down to `tokens_out` tokens."""

    def __init__(
        self, tokens_in: int, tokens_out: int, width: int, hidden: int, heads: int = 2, dropout: float = 0.0,
        layers: Sequence[Sequence[str]] = DERM_LAYERS,
    ) -> None:  # fmt: skip
        super().__init__()
        sizes = [tokens_in, *[2 * tokens_out] * (len(layers) - 1), tokens_out]
        self.layers = nn.Sequential(
            *(DhenLayer(blocks, a, b, width, hidden, heads, dropout) for blocks, a, b in zip(layers, sizes, sizes[1:], strict=False))
        )

    def forward(self, x_BTE: Tensor) -> Tensor:
        out: Tensor = self.layers(x_BTE)
        return out
