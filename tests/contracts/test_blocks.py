"""Every DHEN block keeps this contract, also those that installed packages offer under the
entry-point group `headwater.block`.
"""

from __future__ import annotations

from importlib.metadata import entry_points

import pytest
import torch

from headwater.nn import Dhen, LayerDesign
from headwater.nn.blocks import BLOCKS
from headwater.nn.dhen import block_of


@pytest.fixture(params=[*BLOCKS, *(point.name for point in entry_points(group="headwater.block"))])
def make(request):
    def build(tokens_in=5, tokens_out=3):
        torch.manual_seed(0)
        return block_of(request.param, tokens_in, tokens_out, 8, 16, 2)

    return build


def test_shape(make) -> None:
    assert make()(torch.randn(7, 5, 8)).shape == (7, 3, 8)
    assert make(3, 3)(torch.randn(7, 3, 8)).shape == (7, 3, 8)


def test_gradient_reaches_every_parameter_and_the_input(make) -> None:
    block, x = make(), torch.randn(64, 5, 8, requires_grad=True)
    block(x).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in block.parameters())
    assert (x.grad.abs().sum(dim=(0, 2)) > 0).all()


def test_rows_do_not_see_each_other(make) -> None:
    block, x = make().eval(), torch.randn(4, 5, 8)
    changed = x.clone()
    changed[1:] += 1
    torch.testing.assert_close(block(x)[0], block(changed)[0])


def test_saved_and_loaded_it_gives_the_same(make) -> None:
    block, other, x = make(), make(), torch.randn(4, 5, 8)
    for parameter in other.parameters():
        parameter.data.add_(1)
    other.load_state_dict(block.state_dict())
    torch.testing.assert_close(block(x), other(x))


def test_bfloat16(make) -> None:
    assert torch.isfinite(make().bfloat16()(torch.randn(4, 5, 8).bfloat16())).all()


def test_dhen_is_built_as_the_paper_draws_it() -> None:
    stack = Dhen(tokens_in=9, tokens_out=2, design=LayerDesign(width=8, hidden=16))
    kinds = [[type(block).__name__ for block in layer.blocks] for layer in stack.layers]
    assert kinds == [["MaskBlock", "MlpBlock"], ["TransformerBlock", "MlpBlock"]]
    assert stack(torch.randn(3, 9, 8)).shape == (3, 2, 8)
