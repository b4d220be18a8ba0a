"""Study: a table that one can ask for. Rooms declare theirs; the command's help, the docs and the
order of the report come from what is declared.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import TYPE_CHECKING, Literal

from headwater.console import SILENT, Console
from headwater.errors import ExperimentError

if TYPE_CHECKING:  # the command line lists the studies, and waits for none of these
    from headwater.evaluation import Table
    from headwater.workspace import Workspace

Needs = Literal["judged", "backtests", "vectors"]
Rankers = Literal["all", "of a task given another", "of a task by itself"]
RANKERS_BY_GIVEN: tuple[Rankers, Rankers] = ("of a task by itself", "of a task given another")


@dataclass(frozen=True)
class Asked:
    """What a table is made from: a factory as its live lane has it, the ranker that the table is
    about, and what was asked for beside it (T4: prices and rows; seeds of the upstreams, and of
    which ablations, all where none is named).
    """

    workspace: Workspace
    study: Study
    consumer: str
    console: Console = field(default_factory=lambda: SILENT)
    core_hour_price: float | None = None
    rows_a_day: float | None = None
    upstream_seeds: int | None = None
    seeded: tuple[str, ...] = ()


@dataclass(frozen=True)
class Study:
    """`title` says in some words what it shows. It `needs` judged predictions, backtests (days run
    once more, which takes long, so the table is kept), or published vectors. `consumer` is the
    ranker that it is about unless another is named; None: about none. `make` names the function
    that makes it, `package.module:function`, imported when it is asked for. With `priced`, it takes
    prices; `reseeded` names the study that answers where several seeds of the upstreams are asked
    for (itself, another, or none). The report shows one that needs judged predictions of these
    `rankers`.
    """

    name: str
    title: str
    needs: Needs
    make: str
    consumer: str | None = "ctr"
    priced: bool = False
    rankers: Rankers = "all"
    reseeded: str = ""

    @property
    def kept(self) -> bool:
        """Whether the table is written down for the report, because it takes long to make."""
        return self.needs != "judged"

    def is_about(self, given: bool) -> bool:
        """Whether the report shows it of a ranker, whose task is `given` another or not."""
        return self.rankers in ("all", RANKERS_BY_GIVEN[given])

    def table(self, asked: Asked) -> Table:
        """With what share of the users was judged, if not all were.

        Raises ExperimentError where the factory has nothing that it could be made from.
        """
        from headwater.evaluation import share_note

        module, _, function = self.make.partition(":")
        made: Callable[[Asked], Table] = getattr(import_module(module), function)
        table, share = made(asked), asked.workspace.config.evaluation.users_share
        if share == 1 or self.needs == "vectors":
            return table
        return replace(table, notes=(*table.notes, share_note(share)))


def find_study(studies: tuple[Study, ...], name: str) -> Study:
    """Raises ExperimentError, naming those that there are."""
    found = next((study for study in studies if study.name == name), None)
    if found is None:
        known = ", ".join(sorted(study.name for study in studies))
        raise ExperimentError(f"no table named {name!r}; there are: {known}.")
    return found


def listed(studies: tuple[Study, ...]) -> str:
    """The studies in a sentence, for a command's help."""
    return ", ".join(f"{study.name} ({study.title})" for study in studies)
