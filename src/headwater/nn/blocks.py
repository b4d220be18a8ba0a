"""Interaction blocks. Shape suffixes: B rows, T tokens in, S tokens out, E width of a token."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class MlpBlock(nn.Module):
    """Flatten, two linear layers, back to tokens: X_BTE -> Y_BSE."""

    def __init__(self, tokens_in: int, tokens_out: int, width: int, hidden: int, heads: int) -> None:
        super().__init__()
        self.shape = (tokens_out, width)
        self.layers = nn.Sequential(nn.Flatten(1), nn.Linear(tokens_in * width, hidden), nn.ReLU(), nn.Linear(hidden, tokens_out * width))

    def forward(self, x_BTE: Tensor) -> Tensor:
        out: Tensor = self.layers(x_BTE).unflatten(1, self.shape)
        return out


class MaskBlock(nn.Module):
    """MaskNet (Wang et al. 2021): mask = W2 relu(W1 v); y = relu(LN(W (LN(v) * mask))), v the flattened tokens."""

    def __init__(self, tokens_in: int, tokens_out: int, width: int, hidden: int, heads: int) -> None:
        super().__init__()
        self.shape = (tokens_out, width)
        flat = tokens_in * width
        self.norm_in = nn.LayerNorm(flat)
        self.mask = nn.Sequential(nn.Linear(flat, hidden), nn.ReLU(), nn.Linear(hidden, flat))
        self.out = nn.Linear(flat, tokens_out * width)
        self.norm_out = nn.LayerNorm(tokens_out * width)

    def forward(self, x_BTE: Tensor) -> Tensor:
        v = x_BTE.flatten(1)
        out: Tensor = torch.relu(self.norm_out(self.out(self.norm_in(v) * self.mask(v)))).unflatten(1, self.shape)
        return out


class TransformerBlock(nn.Module):
    """One pre-norm encoder layer over the tokens, then a learned mix of tokens where their number changes."""

    def __init__(self, tokens_in: int, tokens_out: int, width: int, hidden: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_a, self.norm_b = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.feed = nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))
        self.mix = nn.Identity() if tokens_in == tokens_out else TokenMix(tokens_in, tokens_out)

    def forward(self, x_BTE: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm_a(x_BTE)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
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


class CrossNet(nn.Module):
    """DCNv2 (Wang et al. 2021), low rank: x_{l+1} = x_0 * (U_l V_l x_l + b_l) + x_l, on flat x [B, F]."""

    def __init__(self, width: int, layers: int, rank: int) -> None:
        super().__init__()
        self.down = nn.ModuleList(nn.Linear(width, rank, bias=False) for _ in range(layers))
        self.up = nn.ModuleList(nn.Linear(rank, width) for _ in range(layers))

    def forward(self, x0_BF: Tensor) -> Tensor:
        x_BF = x0_BF
        for down, up in zip(self.down, self.up, strict=True):
            x_BF = x0_BF * up(down(x_BF)) + x_BF
        return x_BF


BLOCKS: dict[str, type[nn.Module]] = {"masknet": MaskBlock, "mlp": MlpBlock, "transformer": TransformerBlock}
