"""What every DHEN block keeps to. Shapes: B rows, T tokens in, S tokens out, E width of a token."""

from __future__ import annotations

from abc import ABC, abstractmethod

import pytest
import torch
from torch import nn

from headwater.models.training import begin

WIDTH, HIDDEN, HEADS = 8, 16, 2


class BlockContract(ABC):
    """Subclass it with `make`."""

    @pytest.fixture(autouse=True)
    def _repeatable(self) -> None:
        begin(0)

    @abstractmethod
    def make(
        self, tokens_in: int, tokens_out: int, width: int, hidden: int, heads: int
    ) -> nn.Module:
        """A block, as DHEN makes it."""

    def block(self, tokens_in: int = 5, tokens_out: int = 3) -> nn.Module:
        """A block of a fixed seed."""
        begin(0)
        return self.make(tokens_in, tokens_out, WIDTH, HIDDEN, HEADS)

    @pytest.mark.parametrize(("tokens_in", "tokens_out"), [(5, 3), (3, 3), (2, 6), (1, 1)])
    def test_tokens_in_become_tokens_out(self, tokens_in: int, tokens_out: int) -> None:
        out_BSE = self.block(tokens_in, tokens_out)(torch.randn(7, tokens_in, WIDTH))
        assert out_BSE.shape == (7, tokens_out, WIDTH)
        assert torch.isfinite(out_BSE).all()

    def test_gradient_reaches_every_parameter_and_every_token(self) -> None:
        block = self.block()
        x_BTE = torch.randn(64, 5, WIDTH, requires_grad=True)
        block(x_BTE).square().sum().backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in block.parameters())
        assert x_BTE.grad is not None
        assert (x_BTE.grad.abs().sum(dim=(0, 2)) > 0).all()

    def test_a_batch_is_its_rows_one_by_one(self) -> None:
        block = self.block().eval()
        x_BTE = torch.randn(6, 5, WIDTH)
        one_by_one = torch.cat([block(row) for row in x_BTE.split(1)])
        torch.testing.assert_close(block(x_BTE), one_by_one)
        changed = x_BTE.clone()
        changed[1:] += 1
        torch.testing.assert_close(block(x_BTE)[0], block(changed)[0])

    def test_saved_and_loaded_it_gives_the_same(self) -> None:
        block, other = self.block().eval(), self.block().eval()
        x_BTE = torch.randn(4, 5, WIDTH)
        for parameter in other.parameters():
            parameter.data.add_(1)
        other.load_state_dict(block.state_dict())
        torch.testing.assert_close(block(x_BTE), other(x_BTE), rtol=0, atol=0)

    def test_the_same_seed_makes_the_same_weights(self) -> None:
        one, other = self.block().state_dict(), self.block().state_dict()
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)

    def test_its_input_is_left_as_it_is(self) -> None:
        x_BTE = torch.randn(4, 5, WIDTH)
        before = x_BTE.clone()
        self.block()(x_BTE)
        torch.testing.assert_close(x_BTE, before, rtol=0, atol=0)

    def test_it_learns_a_planted_mean_of_its_tokens(self) -> None:
        """Y = mean_t X_t for every token out; a linear layer on top gives it sign and scale."""
        block = self.block()
        top = nn.Linear(WIDTH, WIDTH)
        x_BTE = torch.randn(128, 5, WIDTH)
        wanted_BSE = x_BTE.mean(dim=1, keepdim=True).expand(-1, 3, -1)
        optimizer = torch.optim.Adam([*block.parameters(), *top.parameters()], lr=0.01)
        losses = []
        for _ in range(120):
            loss = (top(block(x_BTE)) - wanted_BSE).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < 0.5 * float(wanted_BSE.square().mean())

    def test_bfloat16(self) -> None:
        x_BTE = torch.randn(4, 5, WIDTH).bfloat16()
        assert torch.isfinite(self.block().bfloat16()(x_BTE)).all()
