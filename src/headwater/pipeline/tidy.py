"""After the switch: compact, let old editions go, forget what can be made again. Killed here, the
next day tidies.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from headwater.blobs import Layout
from headwater.files import remove_folder
from headwater.lifecycle import compact_where_due, retire
from headwater.pipeline.run import Run

# Days whose rankers are kept, and the last of every RANKERS_EVERY days before; others are made
# again when a replay or a rollback needs them.
KEEP_RANKERS = 2
RANKERS_EVERY = 7


def tidy(run: Run, day: dt.date, replay: bool) -> None:
    """In the midst of a replay nothing but rankers goes: the days still to be renewed may need
    it.
    """
    workspace = run.workspace
    compact_where_due(workspace, workspace.lane, day)
    if not replay:
        retire(workspace)
        if run.published:
            run.reader.cache.forget(day - dt.timedelta(days=days_to_keep(run)))
    days = workspace.days_done()
    forget_rankers(
        workspace.layout, rankers_to_keep(days, day, workspace.config.lifecycle.keep_days)
    )


def days_to_keep(run: Run) -> int:
    """How many days before today are read again tomorrow: until their labels mature, and as far as
    an upstream's window goes back.
    """
    windows = [plan.needs.window_days - 1 for plan in run.plans.values()]
    return max(run.workspace.longest_wait_days, *windows, 0)


def rankers_to_keep(days: Sequence[dt.date], day: dt.date, keep_days: int) -> set[dt.date]:
    """Of the `days` done, those of the newest, those of `day`, and the last of every RANKERS_EVERY
    within the window that is kept. What the first days taught is learnt again from nothing.
    """
    here = days.index(day)
    window = {known for known in days if (days[-1] - known).days <= keep_days + RANKERS_EVERY}
    newest = days[-KEEP_RANKERS:]
    around = days[max(0, here + 1 - KEEP_RANKERS) : here + 1]
    return {*newest, *around, *(window & set(days[RANKERS_EVERY - 1 :: RANKERS_EVERY]))}


def forget_rankers(layout: Layout, kept: set[dt.date]) -> None:
    """Remove the checkpoints of rankers of other days."""
    names = {str(day) for day in kept}
    for folder in layout.rankers_on_disk():
        if folder.name not in names:
            remove_folder(folder)
