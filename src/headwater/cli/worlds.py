"""The simulated world of a new factory."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

from headwater.console import Console
from headwater.errors import ConfigError
from headwater.worlds.adsworld import SIZES, Assumptions, Churn, write_world


@dataclass(frozen=True)
class WorldOptions:
    """How adsworld is simulated.

    `mood` is how much taste jumps from day to day, `churn` makes a content site of it. None stands
    for the size's own `days` and `users`, and for what churn assumes of `page_size` and
    `fresh_share`, which are of a world of churn only.
    """

    size: str
    seed: int
    days: int | None = None
    mood: float = 0.0
    users: int | None = None
    churn: bool = False
    page_size: int | None = None
    fresh_share: float | None = None

    def assumptions(self) -> Assumptions:
        """What such a world assumes.

        Raises ConfigError for an unknown size, an impossible mood, a page of fewer than two items,
        a share that is none, or settings of pages without churn.
        """
        if self.size not in SIZES:
            raise ConfigError(f"adsworld: no size {self.size!r}; there are: {', '.join(SIZES)}.")
        if not 0 <= self.mood < math.inf:
            raise ConfigError(f"adsworld: no mood {self.mood}; expected a number from 0 on.")
        size = SIZES[self.size]
        return replace(
            size,
            mood=self.mood,
            days=size.days if self.days is None else self.days,
            users=size.users if self.users is None else self.users,
            churn=self._churn(),
        )

    def _churn(self) -> Churn | None:
        assumed = Churn()
        page_size = assumed.page_size if self.page_size is None else self.page_size
        fresh_share = assumed.fresh_share if self.fresh_share is None else self.fresh_share
        if not self.churn:
            given = {"--page-size": self.page_size, "--fresh-share": self.fresh_share}
            told = " and ".join(name for name, value in given.items() if value is not None)
            if told:
                raise ConfigError(f"adsworld: {told}: only a world of pages has any; add --churn.")
            return None
        if page_size < 2:
            raise ConfigError(
                f"adsworld: no page of {page_size}; one item out of at least 2 is clicked."
            )
        if not 0 <= fresh_share <= 1:
            raise ConfigError(
                f"adsworld: no share {fresh_share} of the day's items; expected 0 to 1."
            )
        return replace(assumed, page_size=page_size, fresh_share=fresh_share)


def make_world(data: Path, options: WorldOptions, console: Console) -> None:
    """Simulate adsworld into `data`, unless a world lies there already.

    Raises ConfigError for options that make no world, or a folder of other files.
    """
    assumptions = options.assumptions()
    if (data / "world.json").is_file():
        console.log(f"{data}: a world lies there already; it is used as it is")
        return
    if data.exists() and any(data.iterdir()):
        raise ConfigError(
            f"{data}: not empty, and no world.json in it. Choose an empty folder for adsworld."
        )
    if data.exists():
        data.rmdir()
    with console.progress("simulate", assumptions.days) as bar:
        write_world(data, assumptions, options.seed, bar.advance)
    console.log(
        f"simulated {assumptions.days} days of {assumptions.impressions_a_day:,} impressions",
        seed=options.seed,
        data=data,
    )
