"""Parts of an upstream's network against slow twins and numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from headwater.nn import (
    Dhen,
    DhenLayer,
    LayerDesign,
    Mmoe,
    SharedBottom,
    whole_space_bce,
)
from headwater.nn.blocks import BLOCKS, LinearBlock, TokenMix
from headwater.nn.cross import CrossBlock, FullCrossBlock
from headwater.nn.masknet import ParallelMaskBlock, SerialMaskBlock

# ---- blocks --------------------------------------------------------------------------------------


def layer_norm(x: np.ndarray) -> np.ndarray:
    return (x - x.mean()) / np.sqrt(x.var() + 1e-5)


def affine(layer: nn.Linear, x: np.ndarray) -> np.ndarray:
    return layer.weight.detach().double().numpy() @ x + layer.bias.detach().double().numpy()


def mask_on_hidden(block, v: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    mask = affine(block.mask[2], np.maximum(affine(block.mask[0], v), 0))
    return np.maximum(layer_norm(affine(block.out, hidden * mask)), 0)


def test_the_serial_masknet_masks_the_first_block_by_the_input() -> None:
    torch.manual_seed(0)
    block, x = SerialMaskBlock(3, 2, 4, 8, 2), torch.randn(5, 3, 4)
    for row, out in zip(x, block(x), strict=True):
        v = row.flatten().double().numpy()
        twin = mask_on_hidden(block.second, v, mask_on_hidden(block.first, v, layer_norm(v)))
        np.testing.assert_allclose(out.flatten().detach().numpy(), twin, atol=1e-5)


def test_the_parallel_masknet_joins_blocks_that_each_mask_the_input() -> None:
    torch.manual_seed(0)
    block, x = ParallelMaskBlock(3, 2, 4, 8, 2), torch.randn(5, 3, 4)
    for row, out in zip(x, block(x), strict=True):
        v = row.flatten().double().numpy()
        twin = affine(
            block.join,
            np.concatenate([mask_on_hidden(branch, v, layer_norm(v)) for branch in block.branches]),
        )
        np.testing.assert_allclose(out.flatten().detach().numpy(), twin, atol=1e-5)


def test_linear_compression_by_hand() -> None:
    block = LinearBlock(2, 1, 3, 8, 2)
    block.weight_ST.data = torch.tensor([[2.0, -1.0]])
    assert block(torch.tensor([[[1.0, 2, 3], [4, 5, 6]]])).tolist() == [[[-2, -1, 0]]]


def test_the_cross_block_by_hand() -> None:
    block = CrossBlock(2, 1, 1, 4, 2)  # rank 1
    with torch.no_grad():
        for down, up in zip(block.cross.down, block.cross.up, strict=True):
            down.weight.copy_(torch.tensor([[1.0, 1.0]]))
            up.weight.copy_(torch.tensor([[1.0], [0.0]]))
            up.bias.copy_(torch.tensor([0.0, 1.0]))
        block.out.weight.copy_(torch.tensor([[1.0, 10.0]]))
        block.out.bias.zero_()
    # x0 = (2, 3): V x0 = 5, x1 = (2*5 + 2, 3*1 + 3) = (12, 6); V x1 = 18, x2 = (2*18 + 12, 3*1 + 6)
    # = (48, 9)
    assert block(torch.tensor([[[2.0], [3.0]]])).item() == 48 + 90


def test_the_full_cross_block_by_hand() -> None:
    block = FullCrossBlock(2, 1, 1, 4, 2)
    with torch.no_grad():
        for layer in block.cross.layers:
            layer.weight.copy_(torch.tensor([[1.0, 1.0], [0.0, 2.0]]))
            layer.bias.copy_(torch.tensor([0.0, 1.0]))
        block.out.weight.copy_(torch.tensor([[1.0, 10.0]]))
        block.out.bias.zero_()
    # x0 = (2, 3): W x0 + b = (5, 7), x1 = (2*5 + 2, 3*7 + 3) = (12, 24); W x1 + b = (36, 49), x2 =
    # (2*36 + 12, 3*49 + 24) = (84, 171)
    assert block(torch.tensor([[[2.0], [3.0]]])).item() == 84 + 1710


class Plus(nn.Module):
    """A block whose answer is plain: its input's first tokens, plus `amount`."""

    amount = 1.0

    def __init__(
        self, tokens_in: int, tokens_out: int, width: int, hidden: int, heads: int
    ) -> None:
        super().__init__()
        self.tokens_out = tokens_out

    def forward(self, x_BTE: Tensor) -> Tensor:
        return x_BTE[:, : self.tokens_out] + self.amount


class Twice(Plus):
    def forward(self, x_BTE: Tensor) -> Tensor:
        return 2 * x_BTE[:, : self.tokens_out]


@pytest.mark.parametrize("ensemble", ["sum", "weighted", "concat"])
@pytest.mark.parametrize("shortcut", ["identity", "learned"])
def test_a_layer_is_the_norm_of_its_ensemble_and_its_shortcut(
    ensemble, shortcut, monkeypatch
) -> None:
    monkeypatch.setitem(BLOCKS, "plus", Plus)
    monkeypatch.setitem(BLOCKS, "twice", Twice)
    torch.manual_seed(0)
    layer, x = (
        DhenLayer(["plus", "twice"], 2, 2, LayerDesign(3, 8, 1, 0.0, ensemble, shortcut)),
        torch.randn(4, 2, 3),
    )
    if layer.weights is not None:
        layer.weights.data = torch.tensor([0.5, -2.0])
    parts = [x + 1, 2 * x]
    if ensemble == "concat":
        total = torch.einsum("st,bte->bse", layer.mix.weight_ST, torch.cat(parts, dim=1))
    else:
        weights = [0.5, -2.0] if ensemble == "weighted" else [1, 1]
        total = sum(weight * part for weight, part in zip(weights, parts, strict=True))
    total = total + (
        x if shortcut == "identity" else torch.einsum("st,bte->bse", layer.shortcut.weight_ST, x)
    )
    torch.testing.assert_close(layer(x), nn.functional.layer_norm(total, (3,)))
    assert isinstance(layer.shortcut, TokenMix) == (shortcut == "learned")


def test_a_stack_has_any_number_of_layers_and_learns_the_shortcut_where_tokens_change() -> None:
    layers = [["linear"], ["mlp", "dcn", "masknet"], ["transformer"]]
    stack = Dhen(7, 2, LayerDesign(4, 8), layers)
    assert [type(layer.shortcut).__name__ for layer in stack.layers] == [
        "TokenMix",
        "Identity",
        "TokenMix",
    ]
    assert stack(torch.randn(3, 7, 4)).shape == (3, 2, 4)


# ---- heads ---------------------------------------------------------------------------------------


def test_mmoe_matches_a_slow_twin() -> None:
    torch.manual_seed(0)
    head, x = Mmoe(4, 5, ["a", "b"], experts=3), torch.randn(6, 4)
    found = head(x)
    for row in range(6):
        experts = [
            torch.relu(expert[0].weight @ x[row] + expert[0].bias) for expert in head.experts
        ]
        for place, task in enumerate(("a", "b")):
            gate = head.gates[place]
            shares = torch.softmax(gate.weight @ x[row] + gate.bias, dim=0)
            mixed = sum(share * expert for share, expert in zip(shares, experts, strict=True))
            expected = head.towers[place].weight @ mixed + head.towers[place].bias
            assert found[task][row].item() == pytest.approx(expected.item(), rel=1e-5, abs=1e-6)


def test_a_shared_bottom_gives_each_task_layers_of_its_own() -> None:
    head = SharedBottom(3, 4, ["a", "b"], 1)
    gradient = torch.autograd.grad(
        head(torch.randn(2, 3))["a"].sum(), list(head.towers[1].parameters()), allow_unused=True
    )
    assert all(part is None for part in gradient)


# ---- losses --------------------------------------------------------------------------------------


def test_whole_space_loss_matches_a_slow_twin() -> None:
    given, logit = [0.3, -1.2, 4.0, -30.0], [1.5, 0.0, -2.0, 3.0]
    labels = [
        1.0,
        0.0,
        float("nan"),
        float("nan"),
    ]  # clicked and converted; clicked; not clicked; not clicked
    expected = []
    for a, b, label in zip(given, logit, labels, strict=True):
        p = 1 / (1 + math.exp(-a)) / (1 + math.exp(-b))
        expected.append(-math.log(p) if label == 1 else -math.log1p(-p))
    found = whole_space_bce(torch.tensor(given), torch.tensor(logit), torch.tensor(labels))
    assert found.item() == pytest.approx(np.mean(expected), rel=1e-5)


def test_whole_space_loss_survives_certainty() -> None:
    given = torch.tensor([60.0, 60.0], requires_grad=True)
    loss = whole_space_bce(given, torch.tensor([60.0, -60.0]), torch.tensor([0.0, 1.0]))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(given.grad).all()
