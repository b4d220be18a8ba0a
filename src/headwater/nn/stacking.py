"""Modules of equal shapes as one, so that one pass, one backward and one step do for all.

Shape suffixes: S modules, B rows of a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from headwater.nn.quantiles import RunningQuantiles
from headwater.nn.scaling import RunningNorm
from headwater.nn.tables import RowTable
from headwater.nn.vocabulary import Vocabulary

# What these hold was counted in the data, and is the same for every member.
OF_THE_DATA = (RunningNorm, RunningQuantiles, Vocabulary)

Member = TypeVar("Member", bound=nn.Module)
Pick = Callable[[Tensor], Sequence[object]]


class Stack(Generic[Member]):
    """S modules of one class and of equal shapes as one `module`.

    Its parameters and buffers are those of the members, stacked: [S, ...], under the names that
    they have in a member, so that optimisers and checkpoints see one module. Row tables become one
    table, a member's rows after the other's. What was counted in the data is held once.

    A pass goes through all members `at_once` (torch.func.vmap) or, where their code does not allow
    that, through one after the other; both are the same sums. A member knows nothing of it; what
    it changes of its buffers in a pass, it changes in place.
    """

    def __init__(self, members: Sequence[Member]) -> None:
        """The members are used up: the first becomes `module`."""
        self.size = len(members)
        self.module = members[0]
        self.at_once = True
        self._stacked: dict[str, Tensor] = {}
        self._stack_parameters(members)
        self._stack_buffers(members)

    def __call__(self, pick: Pick, index: Tensor) -> Tensor:
        """What the members give for the arguments `pick(rows)`, [S, ...].

        `index` are the rows: [S, B], or [B] where all members read the same.
        """
        own = index.ndim == 2

        def one(state: dict[str, Tensor], rows: Tensor) -> Tensor:
            out: Tensor = functional_call(self.module, state, tuple(pick(rows)))
            return out

        if self.at_once and self.size > 1:
            dims = (0, 0 if own else None)
            out: Tensor = vmap(one, in_dims=dims, randomness="different")(self._stacked, index)
            return out
        parts = {name: value.unbind(0) for name, value in self._stacked.items()}
        return torch.stack(
            [
                one({name: part[s] for name, part in parts.items()}, index[s] if own else index)
                for s in range(self.size)
            ]
        )

    @torch.no_grad()
    def take(self, other: Stack[Member], places: Sequence[int]) -> None:
        """Become the members at some places of another stack of the same modules."""
        theirs = other.module.state_dict()
        tables = {
            f"{path}.{part}"
            for path, module in self.module.named_modules()
            if isinstance(module, RowTable)
            for part in ("weight", "squares")
        }
        for name, value in self.module.state_dict().items():
            whole = theirs[name]
            if name in tables:
                value.copy_(whole.unflatten(0, (other.size, -1))[list(places)].flatten(0, 1))
            else:
                value.copy_(whole[list(places)] if name in self._stacked else whole)

    def try_at_once(self, pick: Pick, index: Tensor) -> None:
        """Find out on some rows whether the members may go `at_once`.

        They may not where that fails, or gives another answer than one after the other. All state
        stays as it was.
        """
        before = {name: value.detach().clone() for name, value in self._stacked.items()}
        random, training = torch.get_rng_state(), self.module.training
        self.at_once = True
        try:
            self.module.train()
            self(pick, index)
            self.module.eval()
            with torch.no_grad():
                together = self(pick, index)
                self.at_once = False
                self.at_once = torch.allclose(
                    together, self(pick, index), rtol=1e-3, atol=1e-4, equal_nan=True
                )
        except (RuntimeError, TypeError, ValueError):
            self.at_once = False
        self.module.train(training)
        torch.set_rng_state(random)
        with torch.no_grad():
            for name, value in self._stacked.items():
                value.copy_(before[name])

    def _stack_parameters(self, members: Sequence[nn.Module]) -> None:
        of_members = [dict(member.named_parameters()) for member in members]
        stacked = {
            name: nn.Parameter(torch.stack([found[name].detach() for found in of_members]))
            for name in of_members[0]
        }
        self._stacked |= stacked
        # a parameter that goes by several names stays one
        new = {first: stacked[name] for name, first in of_members[0].items()}
        for module in self.module.modules():
            for name, parameter in module._parameters.items():
                if parameter is not None:
                    module._parameters[name] = new[parameter]

    def _stack_buffers(self, members: Sequence[nn.Module]) -> None:
        for path, module in self._own(members[0]):
            others = [member.get_submodule(path) for member in members]
            prefix = f"{path}." if path else ""
            if isinstance(module, RowTable):
                rows = len(module.weight)
                for name in ("weight", "squares"):
                    module._buffers[name] = torch.cat([getattr(other, name) for other in others])
                module.start = rows * torch.arange(self.size)
                self._stacked[f"{prefix}start"] = module.start
                continue
            for name, buffer in module._buffers.items():
                if buffer is not None:
                    whole = torch.stack([getattr(other, name) for other in others])
                    module._buffers[name] = whole
                    self._stacked[f"{prefix}{name}"] = whole

    @staticmethod
    def _own(member: nn.Module) -> Iterator[tuple[str, nn.Module]]:
        """The modules of a member, by path, whose buffers are its own."""
        for path, module in member.named_modules():
            if not isinstance(module, OF_THE_DATA):
                yield path, module
