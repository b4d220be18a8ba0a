"""DHEN: layers of interaction blocks side by side (Zhang et al. 2022, arXiv 2203.11014).

Shape suffixes: B rows, T tokens in, S tokens out, E width of a token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from headwater.errors import ConfigError
from headwater.nn.blocks import BLOCKS, TokenMix
from headwater.plugins import resolve

DERM_LAYERS = (("masknet", "mlp"), ("transformer", "mlp"))
Ensemble = Literal["sum", "concat", "weighted"]
ShortCut = Literal["identity", "learned"]


@dataclass(frozen=True)
class LayerDesign:
    """What the layers of a DHEN have in common.

    `width` is that of a token, `hidden` that of the layers inside a block. `ensemble` joins the
    blocks of a layer: their sum, their sum with learned weights (1 at first), or their tokens side
    by side, mixed back to the layer's number (`concat`). `shortcut` is a learned token mix where
    that is asked for, and wherever the number of tokens changes.
    """

    width: int
    hidden: int
    heads: int = 2
    dropout: float = 0.0
    ensemble: Ensemble = "sum"
    shortcut: ShortCut = "identity"


def block_of(
    name: str, tokens_in: int, tokens_out: int, width: int, hidden: int, heads: int
) -> nn.Module:
    """The block of that name, made.

    Raises ConfigError where there is none, or it cannot be made as blocks are.
    """
    kind = resolve("headwater.block", BLOCKS, name)
    try:
        block = kind(tokens_in, tokens_out, width, hidden, heads)
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        raise ConfigError(
            f"block {name!r}: cannot be made as {kind.__name__}(tokens_in, tokens_out, width,"
            f" hidden, heads) of {(tokens_in, tokens_out, width, hidden, heads)}: {error}."
        ) from error
    if not isinstance(block, nn.Module):
        raise ConfigError(
            f"block {name!r}: should be a torch.nn.Module, received {type(block).__name__}."
        )
    return block


class DhenLayer(nn.Module):
    """One layer: Y = Norm(Ensemble_i(Block_i(X)) + ShortCut(X)), X_BTE -> Y_BSE."""

    def __init__(
        self, blocks: Sequence[str], tokens_in: int, tokens_out: int, design: LayerDesign
    ) -> None:
        super().__init__()
        width, hidden, heads = design.width, design.hidden, design.heads
        self.blocks = nn.ModuleList(
            block_of(name, tokens_in, tokens_out, width, hidden, heads) for name in blocks
        )
        same = tokens_in == tokens_out and design.shortcut == "identity"
        self.shortcut = nn.Identity() if same else TokenMix(tokens_in, tokens_out)
        self.weights: nn.Parameter | None = None
        self.mix: TokenMix | None = None
        if design.ensemble == "weighted":
            self.weights = nn.Parameter(torch.ones(len(blocks)))
        elif design.ensemble == "concat":
            self.mix = TokenMix(len(blocks) * tokens_out, tokens_out)
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(design.dropout)

    def forward(self, x_BTE: Tensor) -> Tensor:
        total = self.shortcut(x_BTE)
        if self.mix is not None:
            joined = torch.cat([self.dropout(block(x_BTE)) for block in self.blocks], dim=1)
            total = total + self.mix(joined)
        else:
            for place, block in enumerate(self.blocks):
                out = self.dropout(block(x_BTE))
                total = total + (out if self.weights is None else self.weights[place] * out)
        normed: Tensor = self.norm(total)
        return normed


class Dhen(nn.Module):
    """A stack of layers; DERM's is [MaskNet | MLP], then [Transformer | MLP].

    All layers but the last give twice `tokens_out` tokens: X_BTE -> Y_BSE.
    """

    def __init__(
        self,
        tokens_in: int,
        tokens_out: int,
        design: LayerDesign,
        layers: Sequence[Sequence[str]] = DERM_LAYERS,
    ) -> None:
        super().__init__()
        sizes = [tokens_in, *[2 * tokens_out] * (len(layers) - 1), tokens_out]
        self.layers = nn.Sequential(
            *(
                DhenLayer(blocks, before, after, design)
                for blocks, before, after in zip(layers, sizes, sizes[1:], strict=False)
            )
        )

    def forward(self, x_BTE: Tensor) -> Tensor:
        out: Tensor = self.layers(x_BTE)
        return out
