"""Lake: a log's files, each read once, and then only by the days that ask for them.

Files of one or two days whose times compare as they stand (Parquet, Arrow; integers or datetimes)
are read in place. Others (a file a month, text times, CSV) are cut once into parts, a day each.
Shape suffix: N rows.
"""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import xxhash

from headwater.digests import digest_of
from headwater.events.cleaning import TIME
from headwater.events.ledger import (
    Change,
    FileFacts,
    Identity,
    Ledger,
    days_between,
    expect_at_rest,
)
from headwater.events.tables import COLUMNAR, collect, matching_files, scan, unreadable
from headwater.events.times import date_of_us, day_bounds_us, raw_bounds, to_us
from headwater.files import TEMPORARY, new_folder
from headwater.schema import Log

LEDGER = "ledger.json"
UNDATED = "undated.parquet"  # beside the parts: rows that belong to no day
IN_PLACE_DAYS = 2
WHOLE_BYTES = 32 << 20  # a smaller file is read at once
BUFFERED_BYTES = 256 << 20  # of rows that wait to be written to their day's part


class Lake:
    """The files of one log.

    What is known of them lies in `folder`. Only who `keeps` adds to it, and cuts those that are not
    read in place; others learn of new files for themselves, and read them where they lie. `drops`
    leaves rows out before they are copied (those of who was erased).
    """

    def __init__(
        self,
        log: Log,
        zone: ZoneInfo,
        folder: Path | None = None,
        keeps: bool = False,
        drops: Callable[[pl.DataFrame], pl.DataFrame] | None = None,
    ) -> None:
        self.log, self.zone = log, zone
        self._folder, self._drops = folder, drops
        self._keeps = keeps and folder is not None
        self._what = f"log {log.name}"
        self._signature = digest_of(log.time, log.time_unit, zone.key, log.columns)
        self._known: Ledger | None = None
        self._read_ledger: tuple[Identity | None, Mapping[str, FileFacts]] = (None, {})

    @property
    def ledger(self) -> Ledger:
        """What is known of the files. Who keeps the lake looks at them when `ingest` is called, so
        that a day reads one state of them; who only reads looks each time.
        """
        if self._known is None or not self._keeps:
            self.ingest()
        assert self._known is not None
        return self._known

    def take_news(self) -> tuple[Change, ...]:
        """What has changed since this was last asked for, for whoever tells it."""
        news = self.ledger.news
        if news and self._known is not None:
            told = replace(self._known, news=())
            self._keep(self._known, told)
            self._known = told
        return news

    def expect_unchanged(self, low_us: int, high_us: int) -> None:
        """Raise LogError where a file that was read in place is no longer the one that is known."""
        if low_us < high_us and self._known is not None:
            first, last = date_of_us(low_us, self.zone), date_of_us(high_us - 1, self.zone)
            for path, facts in self._known.files.items():
                if not facts.cut and facts.touches(first, last):
                    expect_at_rest(path, facts.identity, self._what)

    def ingest(self, done: Callable[[str], None] = lambda _: None) -> list[Change]:
        """Read every file that is new or changed; returns what is other than before.

        Nothing is other where nothing was known. `done` is told each file that was read.
        Interrupted, the files that were read are kept. Raises LogError: unreadable, a column
        missing, changed while it was read.
        """
        before = self._before()
        kept = self._kept_facts()
        files = dict[str, FileFacts]()
        try:
            for path in matching_files(self.log.paths, self._what):
                known = [before.files.get(path), kept.get(path)]
                files[path] = self._facts(path, known)
                if not any(files[path] is facts for facts in known):
                    done(path)
        except BaseException:
            # what was read so far is not read again; what is not listed yet is not forgotten
            self._keep(before, before.followed_by({**before.files, **files}, before.whole))
            raise
        self._known = before.followed_by(files, whole=True)
        self._keep(before, self._known)
        self._sweep()
        return list(self._known.news[len(before.news) :])

    def unread(self) -> int:
        """How many files are new or changed. Raises LogError where there are no files."""
        files, known = matching_files(self.log.paths, self._what), self._before().files
        return sum(not self._is_known(path, known.get(path)) for path in files)

    def frames(self, low_us: int, high_us: int) -> Iterator[tuple[str, pl.LazyFrame]]:
        """Of each file with rows in the half-open interval of UTC microseconds: its path, and those
        rows with their TIME. Raises LogError.
        """
        if low_us >= high_us:
            return
        first, last = date_of_us(low_us, self.zone), date_of_us(high_us - 1, self.zone)
        for path, facts in self.ledger.files.items():
            if not facts.touches(first, last):
                continue
            if facts.cut and self._folder is not None:
                for day in sorted(facts.rows):
                    if first <= day <= last:
                        part = pl.scan_parquet(self._part(facts.digest, day), glob=False)
                        yield path, part.filter(_between(low_us, high_us))
            else:
                yield path, self._of_file(path, low_us, high_us)

    def empty(self) -> tuple[str, pl.LazyFrame]:
        """The first file without its rows: columns and types."""
        path = next(iter(self.ledger.files))
        return path, self._timed(path).head(0)

    def undated(self) -> Iterator[tuple[str, pl.LazyFrame]]:
        """Of each file that has such: the rows whose time cannot be read. Raises LogError."""
        for path, facts in self.ledger.files.items():
            if facts.undated and facts.cut:
                yield path, pl.scan_parquet(self._parts(facts.digest) / UNDATED, glob=False)
            elif facts.undated:
                yield path, self._timed(path).filter(pl.col(TIME).is_null())

    # ---- one file ------------------------------------------------------------------------------

    def _facts(self, path: str, known: Sequence[FileFacts | None]) -> FileFacts:
        """What is known of a file, which is read unless it is one that was."""
        for facts in known:
            if facts is not None and self._is_known(path, facts):
                return facts
        identity = self._identity(path)
        digest = _digest(path, self._what)
        lazy = scan(path, self.log.columns, self._what)
        dtypes = lazy.collect_schema()
        types = {column: str(dtypes[column]) for column in self.log.columns}
        comparable = dtypes[self.log.time].is_integer() or dtypes[self.log.time].is_temporal()
        cuts = self._keeps
        rows: Mapping[dt.date, int] = {}
        if not cuts or (path.endswith(COLUMNAR) and comparable):
            times = collect(self._timed(path).select(TIME), path, self._what)[TIME]
            rows, undated = counted(times, self.zone)
            cuts = cuts and len(rows) > IN_PLACE_DAYS
        if cuts:
            rows, undated = self._cut(path, digest, identity)
        expect_at_rest(path, identity, self._what)
        return FileFacts(identity, digest, rows, undated, types, cuts)

    def _is_known(self, path: str, known: FileFacts | None) -> bool:
        if known is None or not self._has_parts(known):
            return False
        return known.identity == self._identity(path)

    def _identity(self, path: str) -> Identity:
        try:
            return Identity.of(path)
        except OSError as error:
            raise unreadable(path, self._what, error) from error

    def _of_file(self, path: str, low_us: int, high_us: int) -> pl.LazyFrame:
        lazy = scan(path, self.log.columns, self._what)
        dtype = lazy.collect_schema()[self.log.time]
        if dtype.is_integer():  # on the raw column, so that the reader can skip row groups
            low, high = raw_bounds(low_us, high_us, self.log.time_unit)
            lazy = lazy.filter(pl.col(self.log.time).is_between(low, high, closed="left"))
        return lazy.with_columns(self._us(dtype)).filter(_between(low_us, high_us))

    def _timed(self, path: str) -> pl.LazyFrame:
        lazy = scan(path, self.log.columns, self._what)
        return lazy.with_columns(self._us(lazy.collect_schema()[self.log.time]))

    def _us(self, dtype: pl.DataType) -> pl.Expr:
        """UTC microseconds of the log's time, where that is of this type, as TIME."""
        return to_us(self.log.time, dtype, self.log.time_unit, self.zone.key).alias(TIME)

    # ---- parts ---------------------------------------------------------------------------------

    def _part(self, digest: str, day: dt.date) -> Path:
        return self._parts(digest) / f"{day}.parquet"

    def _parts(self, digest: str) -> Path:
        assert self._folder is not None
        return self._folder / "parts" / f"{digest[:24]}-{self._signature[:8]}"

    def _has_parts(self, facts: FileFacts) -> bool:
        if not facts.cut:
            return True
        if self._folder is None:
            return False
        parts = [self._part(facts.digest, day) for day in facts.rows]
        parts += [self._parts(facts.digest) / UNDATED] if facts.undated else []
        return all(part.is_file() for part in parts)

    def _cut(self, path: str, digest: str, identity: Identity) -> tuple[dict[dt.date, int], int]:
        """Copy a file's rows into a part a day; returns how many it has by day, and undated."""
        with new_folder(self._parts(digest)) as aside:
            scraps, undated = _Scraps(aside), list[pl.DataFrame]()
            for batch in self._batches(path):
                undated.append(batch.filter(pl.col(TIME).is_null()))
                self._scatter(batch.filter(pl.col(TIME).is_not_null()), scraps)
            # before they are in place: two files of the same bytes share their parts
            expect_at_rest(path, identity, self._what)
            rows = pl.concat(undated, how="vertical_relaxed") if undated else pl.DataFrame()
            if len(rows):
                dropped = rows if self._drops is None else self._drops(rows)
                dropped.write_parquet(aside / UNDATED)
            return scraps.bound(), len(rows)

    def _batches(self, path: str) -> Iterator[pl.DataFrame]:
        """A file's rows with their TIME, in their order; all at once where they are few."""
        rows = self._timed(path)
        if Identity.of(path).size < WHOLE_BYTES:
            yield collect(rows, path, self._what)
            return
        try:
            yield from rows.collect_batches(maintain_order=True)
        except (pl.exceptions.PolarsError, OSError) as error:
            raise unreadable(path, self._what, error) from error

    def _scatter(self, batch: pl.DataFrame, scraps: _Scraps) -> None:
        if self._drops is not None:
            batch = self._drops(batch)
        for day, rows_N in _rows_by_day(batch[TIME].to_numpy(), self.zone):
            scraps.add(day, batch if len(rows_N) == len(batch) else batch[rows_N])

    # ---- the ledger ----------------------------------------------------------------------------

    def _before(self) -> Ledger:
        if self._known is not None:
            return self._known
        if self._folder is None:
            return Ledger(self._signature)
        return Ledger.read(self._folder / LEDGER, self._signature)

    def _kept_facts(self) -> Mapping[str, FileFacts]:
        """What another process has written down since, for who only reads."""
        if self._keeps or self._known is None or self._folder is None:
            return {}
        path = self._folder / LEDGER
        now = Identity.of(str(path)) if path.is_file() else None
        if now != self._read_ledger[0]:
            self._read_ledger = (now, Ledger.read(path, self._signature).files)
        return self._read_ledger[1]

    def _keep(self, before: Ledger, ledger: Ledger) -> None:
        if self._keeps and self._folder is not None and ledger != before:
            ledger.write(self._folder / LEDGER)

    def _sweep(self) -> None:
        """Parts of files that are gone, or were read in another way, go too."""
        if not self._keeps or self._folder is None or self._known is None:
            return
        named = {self._parts(facts.digest) for facts in self._known.files.values() if facts.cut}
        for folder in (self._folder / "parts").glob("*"):
            if folder not in named and not folder.name.startswith(TEMPORARY):
                shutil.rmtree(folder, ignore_errors=True)


class _Scraps:
    """Rows of a file on their way into its parts: in memory, and where they are many on disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._waiting: dict[dt.date, list[pl.DataFrame]] = {}
        self._spilt: dict[dt.date, list[Path]] = {}
        self._bytes = 0

    def add(self, day: dt.date, rows: pl.DataFrame) -> None:
        self._waiting.setdefault(day, []).append(rows)
        self._bytes += int(rows.estimated_size())
        if self._bytes > BUFFERED_BYTES:
            self._spill()

    def _spill(self) -> None:
        for day, frames in self._waiting.items():
            paths = self._spilt.setdefault(day, [])
            path = self._folder / f"{day}-{len(paths)}.scrap"
            pl.concat(frames, how="vertical_relaxed").write_ipc(path)
            paths.append(path)
        self._waiting, self._bytes = {}, 0

    def bound(self) -> dict[dt.date, int]:
        """Write each day's part, oldest row first and ties as they stood; returns their rows."""
        counts = {}
        for day in sorted({*self._waiting, *self._spilt}):
            earlier = self._spilt.get(day, [])
            frames = [*map(pl.read_ipc, earlier), *self._waiting.get(day, [])]
            rows = pl.concat(frames, how="vertical_relaxed").sort(TIME, maintain_order=True)
            rows.write_parquet(self._folder / f"{day}.parquet", compression="zstd")
            for path in earlier:
                path.unlink()
            counts[day] = len(rows)
        return counts


def counted(times: pl.Series, zone: ZoneInfo) -> tuple[dict[dt.date, int], int]:
    """Rows by local day, and those without a time."""
    known_N = times.drop_nulls().to_numpy()
    days = {day: len(rows_N) for day, rows_N in _rows_by_day(known_N, zone)}
    return days, int(times.null_count())


def _rows_by_day(times_N: np.ndarray, zone: ZoneInfo) -> list[tuple[dt.date, np.ndarray]]:
    """The rows of each local day that has any, in their order."""
    if len(times_N) == 0:
        return []
    days = list(
        days_between(date_of_us(int(times_N.min()), zone), date_of_us(int(times_N.max()), zone))
    )
    if len(days) == 1:
        return [(days[0], np.arange(len(times_N)))]
    starts = np.array([day_bounds_us(day, zone)[0] for day in days])
    place_N = np.searchsorted(starts, times_N, side="right") - 1
    order_N = np.argsort(place_N, kind="stable")
    cuts = np.searchsorted(place_N[order_N], np.arange(len(days) + 1))
    found = [(day, order_N[cuts[n] : cuts[n + 1]]) for n, day in enumerate(days)]
    return [(day, rows_N) for day, rows_N in found if len(rows_N)]


def _between(low_us: int, high_us: int) -> pl.Expr:
    return pl.col(TIME).is_between(low_us, high_us, closed="left")


def _digest(path: str, what: str) -> str:
    """Of a file's bytes. Raises LogError."""
    made = xxhash.xxh3_128()
    try:
        with open(path, "rb", buffering=0) as handle:
            while chunk := handle.read(1 << 20):
                made.update(chunk)
    except OSError as error:
        raise unreadable(path, what, error) from error
    return str(made.hexdigest())
