"""The simulated world of a new factory."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

from headwater.console import Console
from headwater.errors import ConfigError
from headwater.worlds.adsworld import SIZES, write_world


@dataclass(frozen=True)
class WorldOptions:
    """How adsworld is simulated. `days`: None for the size's own; `mood`: how much taste jumps
    from day to day.
    """

    size: str
    seed: int
    days: int | None
    mood: float


def make_world(data: Path, options: WorldOptions, console: Console) -> None:
    """Simulate adsworld into `data`, unless a world lies there already.

    Raises ConfigError for an unknown size, an impossible mood, or a folder of other files.
    """
    if options.size not in SIZES:
        raise ConfigError(f"adsworld: no size {options.size!r}; there are: {', '.join(SIZES)}.")
    if not 0 <= options.mood < math.inf:
        raise ConfigError(f"adsworld: no mood {options.mood}; expected a number from 0 on.")
    if (data / "world.json").is_file():
        console.log(f"{data}: a world lies there already; it is used as it is")
        return
    if data.exists() and any(data.iterdir()):
        raise ConfigError(
            f"{data}: not empty, and no world.json in it. Choose an empty folder for adsworld."
        )
    size = SIZES[options.size]
    days = size.days if options.days is None else options.days
    assumptions = replace(size, mood=options.mood, days=days)
    if data.exists():
        data.rmdir()
    with console.progress("simulate", days) as bar:
        write_world(data, assumptions, options.seed, bar.advance)
    console.log(
        f"simulated {days} days of {assumptions.impressions_a_day:,} impressions",
        seed=options.seed,
        data=data,
    )
