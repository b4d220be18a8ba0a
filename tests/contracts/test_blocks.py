"""Our own DHEN blocks keep the contract, and so do those that installed packages offer under the
entry-point group `headwater.block`.
"""

from __future__ import annotations

from importlib.metadata import entry_points

import pytest
import torch

from headwater.nn import Dhen, LayerDesign
from headwater.nn.blocks import BLOCKS
from headwater.nn.dhen import block_of
from headwater.testing import BlockContract


class TestBlocks(BlockContract):
    @pytest.fixture(
        autouse=True,
        params=[*BLOCKS, *(point.name for point in entry_points(group="headwater.block"))],
    )
    def _named(self, request) -> None:
        self.name = request.param

    def make(self, tokens_in, tokens_out, width, hidden, heads):
        return block_of(self.name, tokens_in, tokens_out, width, hidden, heads)


def test_dhen_is_built_as_the_paper_draws_it() -> None:
    stack = Dhen(tokens_in=9, tokens_out=2, design=LayerDesign(width=8, hidden=16))
    kinds = [[type(block).__name__ for block in layer.blocks] for layer in stack.layers]
    assert kinds == [["MaskBlock", "MlpBlock"], ["TransformerBlock", "MlpBlock"]]
    assert stack(torch.randn(3, 9, 8)).shape == (3, 2, 8)
