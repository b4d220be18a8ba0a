"""What the heads of an upstream keep to. Shapes: B rows, F width of a row."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import pytest
import torch
from torch import nn

from headwater.models.training import begin

WIDTH, HIDDEN, EXPERTS = 4, 8, 2
TASKS = ("train", "values")  # names that torch's modules have methods of


class HeadContract(ABC):
    """Subclass it with `make`."""

    @pytest.fixture(autouse=True)
    def _repeatable(self) -> None:
        begin(0)

    @abstractmethod
    def make(self, width: int, hidden: int, tasks: Sequence[str], experts: int) -> nn.Module:
        """A head, as an upstream makes it."""

    def head(self, tasks: Sequence[str] = TASKS) -> nn.Module:
        """A head of a fixed seed."""
        begin(0)
        return self.make(WIDTH, HIDDEN, tasks, EXPERTS)

    @pytest.mark.parametrize("tasks", [("click",), TASKS, ("a", "b", "c")], ids=len)
    def test_each_task_gets_a_logit_a_row(self, tasks: Sequence[str]) -> None:
        found = self.head(tasks)(torch.randn(32, WIDTH))
        shapes = {task: tuple(logit_B.shape) for task, logit_B in found.items()}
        assert shapes == dict.fromkeys(tasks, (32,))

    def test_gradient_reaches_every_parameter_and_the_input(self) -> None:
        head = self.head()
        x_BF = torch.randn(32, WIDTH, requires_grad=True)
        torch.stack([logit_B.square().sum() for logit_B in head(x_BF).values()]).sum().backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in head.parameters())
        assert x_BF.grad is not None
        assert (x_BF.grad.abs().sum(dim=0) > 0).all()

    def test_a_batch_is_its_rows_one_by_one(self) -> None:
        head = self.head().eval()
        x_BF = torch.randn(6, WIDTH)
        found = head(x_BF)
        for task in TASKS:
            one_by_one = torch.cat([head(row)[task] for row in x_BF.split(1)])
            torch.testing.assert_close(found[task], one_by_one)

    def test_saved_and_loaded_it_gives_the_same(self) -> None:
        head, other = self.head().eval(), self.head().eval()
        x_BF = torch.randn(4, WIDTH)
        for parameter in other.parameters():
            parameter.data.add_(1)
        other.load_state_dict(head.state_dict())
        for task in TASKS:
            torch.testing.assert_close(head(x_BF)[task], other(x_BF)[task], rtol=0, atol=0)

    def test_the_same_seed_makes_the_same_weights(self) -> None:
        one, other = self.head().state_dict(), self.head().state_dict()
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)

    def test_tasks_that_want_opposite_things_are_both_learnt(self) -> None:
        """Planted: the first task is x_0 > 0, the second its opposite."""
        head = self.head()
        x_BF = torch.randn(256, WIDTH)
        wanted_B = (x_BF[:, 0] > 0).float()
        labels = dict(zip(TASKS, (wanted_B, 1 - wanted_B), strict=True))
        optimizer = torch.optim.Adam(head.parameters(), lr=0.02)
        for _ in range(150):
            found = head(x_BF)
            loss = torch.stack(
                [
                    nn.functional.binary_cross_entropy_with_logits(found[task], labels[task])
                    for task in TASKS
                ]
            ).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        found = head.eval()(x_BF)
        for task in TASKS:
            right = ((found[task] > 0) == (labels[task] > 0)).float().mean()
            assert right > 0.9, task
