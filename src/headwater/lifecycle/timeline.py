"""What a lane served, day after day, for whoever joins rows with it afterwards. Shapes: N rows."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

import numpy as np

from headwater.embeddings import Served, Space
from headwater.errors import EditionMissing, SpaceMismatch, StoreError
from headwater.store import Edition, EditionView, Entry
from headwater.workspace import Workspace


class Timeline:
    """A lane's editions as the catalog had them when this was made. Rows of a day read the newest
    that was published `lag_days` before.
    """

    def __init__(self, workspace: Workspace) -> None:
        """Of the workspace's lane. Raises StoreError where a replay was not finished, so that
        editions of two histories lie in it.
        """
        self._workspace = workspace
        self.lane, self.lag_days = workspace.lane, workspace.config.lifecycle.lag_days
        self.chain = workspace.chain()
        self._opened: dict[Entry, Edition] = {}
        pending = workspace.layout.replay
        if pending.is_file():
            raise StoreError(
                f"a replay of the lane {self.lane!r} was not finished ({pending}): its editions"
                f" would be joined half old, half new. `headwater run --lane {self.lane}` of any"
                " day finishes it."
            )

    @property
    def days(self) -> tuple[dt.date, ...]:
        """The days done."""
        return tuple(entry.day for entry in self.chain.days)

    def expect(self, days: Iterable[dt.date]) -> None:
        """Raise EditionMissing, naming those of `days` that were not run, or whose edition was
        removed by retention.
        """
        days, done = list(days), set(self.days)
        missing = [day for day in days if day not in done]
        if missing:
            have = (
                f"it has {len(done)}, {self.days[0]} to {self.days[-1]}" if done else "it has none"
            )
            raise EditionMissing(
                f"{_listed(missing)}: not run in the lane {self.lane!r}; {have}. `headwater"
                " backfill` runs them, or choose other days."
            )
        gone = [
            day
            for day in days
            if (entry := self.entry_on(day)) is not None and entry.folder is None
        ]
        if gone:
            raise EditionMissing(
                f"{_listed(gone)}: what was served on these days was removed by retention;"
                " lifecycle.keep_days says how long editions are kept. Choose later days."
            )

    def entry_on(self, day: dt.date) -> Entry | None:
        """What rows of `day` read; None before the first."""
        return self.chain.as_of(day - dt.timedelta(days=self.lag_days))

    def open(self, entry: Entry) -> Edition:
        """Raises StoreError."""
        if entry not in self._opened:
            self._opened[entry] = self._workspace.open(entry)
        return self._opened[entry]

    def space(self, name: str, entries: Iterable[Entry]) -> Space | None:
        """The one space of an embedding in some editions; None where none of them holds it. Raises
        SpaceMismatch.
        """
        spaces: dict[Space, dt.date] = {}
        for entry in entries:
            found = self.open(entry).snapshots.get(name)
            if found is not None:
                spaces.setdefault(Space.from_json(found["space"]), entry.day)
        if len(spaces) > 1:
            listed = ", ".join(
                f"{space} (from the edition of {day})" for space, day in spaces.items()
            )
            raise SpaceMismatch(
                f"{name}: the rows would read {len(spaces)} spaces: {listed}. Take the days of one"
                " space only."
            )
        return next(iter(spaces), None)

    def read(self, name: str, keys_N: np.ndarray, day: dt.date) -> Served | None:
        """What was served to rows of `day`; None where there was no such embedding yet.

        An edition that was compacted meanwhile is followed to where it lies now. Raises StoreError
        where it was replaced or withdrawn.
        """
        entry = self.entry_on(day)
        while entry is not None:
            try:
                edition = self.open(entry)
                view = EditionView(day - dt.timedelta(days=self.lag_days), edition)
                return view.read(name, keys_N, day) if name in edition.snapshots else None
            except (StoreError, OSError):
                now = self._workspace.chain().get(entry.day)
                if now == entry:
                    raise
                if now is None or now.digest != entry.digest:
                    raise StoreError(
                        f"the edition of {entry.day} was replaced, withdrawn or cleaned of someone"
                        " erased while its vectors were read. Start again."
                    ) from None
                entry = now
        return None


def _listed(days: list[dt.date]) -> str:
    shown = ", ".join(map(str, days[:10]))
    return shown if len(days) <= 10 else f"{shown} and {len(days) - 10} more days"
