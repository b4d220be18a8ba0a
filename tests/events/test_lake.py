"""The lake: each file is read once; a day opens only its own; what changes is told by name."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.errors import LogError
from headwater.events import lake as lake_module
from headwater.events.lake import Lake, counted
from headwater.events.log import EventLog
from headwater.events.times import day_bounds_us
from headwater.files import TEMPORARY
from headwater.schema import Log, Numeric

D0 = dt.date(2025, 3, 1)
BERLIN = ZoneInfo("Europe/Berlin")
UTC = ZoneInfo("UTC")


def after(n: int) -> dt.date:
    return D0 + dt.timedelta(days=n)


def log_of(*paths: str) -> Log:
    return Log(
        name="feed",
        paths=paths,
        time="t",
        time_unit="ms",
        entities={"user": "u", "item": "i"},
        features={"price": Numeric()},
        labels=("c",),
        join_keys=(),
        event_id=None,
        max_reject_share=0.5,
    )


def rows_of(days: range, a_day: int = 30, zone: ZoneInfo = UTC) -> pl.DataFrame:
    """Rows in no order of time; every row another."""
    generator = np.random.default_rng([days.start, a_day])
    times = np.concatenate(
        [generator.integers(*day_bounds_us(after(n), zone), a_day) // 1000 for n in days]
    )
    frame = pl.DataFrame(
        {
            "t": times,
            "u": [f"u{k % 7}" for k in range(len(times))],
            "i": np.arange(len(times)) + 1000 * days.start + 7 * a_day,
            "price": generator.random(len(times)),
            "c": generator.integers(0, 2, len(times)),
        }
    )
    return frame[generator.permutation(len(frame))]


def as_text(frame: pl.DataFrame, zone: ZoneInfo = UTC) -> pl.DataFrame:
    moments = pl.from_epoch("t", time_unit="ms").dt.replace_time_zone("UTC")
    local = moments.dt.convert_time_zone(zone.key).dt.strftime("%Y-%m-%d %H:%M:%S%.3f")
    return frame.with_columns(local.alias("t"))


def write(frame: pl.DataFrame, path: Path) -> None:
    if path.suffix == ".parquet":
        frame.write_parquet(path)
    elif path.suffix == ".arrow":
        frame.write_ipc(path)
    elif path.suffix == ".jsonl":
        frame.write_ndjson(path)
    else:
        frame.write_csv(path, separator="\t" if path.suffix == ".tsv" else ",")


def kept(root: Path, pattern: str, zone: ZoneInfo = UTC, lake: str = "lake") -> EventLog:
    log = log_of(str(root / pattern))
    return EventLog(log, zone, root / "q", None, root / lake, keeps=True)


def same(one: pl.DataFrame, other: pl.DataFrame) -> bool:
    casts = [pl.col("i").cast(pl.Int64), pl.col("c").cast(pl.Float64), pl.col("price").round(9)]
    columns = ["time_us", "u", "i", "price", "c"]
    return one.with_columns(casts).select(columns).equals(other.with_columns(casts).select(columns))


@contextmanager
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The source files that are scanned meanwhile."""
    found: list[str] = []
    real = lake_module.scan
    with monkeypatch.context() as patch:
        patch.setattr(
            lake_module,
            "scan",
            lambda file, *more: found.append(Path(file).name) or real(file, *more),
        )
        yield found


# ---- whatever the files are, the days are the same -----------------------------------------------


@pytest.mark.parametrize("zone", [UTC, BERLIN, ZoneInfo("Asia/Shanghai")])
@pytest.mark.parametrize("ending", ["parquet", "arrow", "jsonl", "csv", "tsv"])
@pytest.mark.parametrize("text", [False, True])
def test_a_file_a_day_and_one_for_all_give_the_same_days(tmp_path, ending, text, zone) -> None:
    days = [rows_of(range(n, n + 1), zone=zone) for n in range(5)]
    told = (lambda frame: as_text(frame, zone)) if text else (lambda frame: frame)
    for n, frame in enumerate(days):
        write(frame, tmp_path / f"plain-{n}.parquet")
        write(told(frame), tmp_path / f"one-{n}.{ending}")
    write(told(pl.concat(days)[::-1]), tmp_path / f"whole.{ending}")
    plain = EventLog(log_of(str(tmp_path / "plain-*")), zone)  # as it stands, without a lake
    logs = [kept(tmp_path, f"one-*.{ending}", zone, "a")]
    logs += [kept(tmp_path, f"whole.{ending}", zone, "b")]
    for n in range(5):
        expected = plain.day(after(n)).frame
        assert len(expected) == 30
        for log in logs:
            assert same(log.day(after(n)).frame, expected)
            assert log.span() == (after(0), after(4))
    [facts] = logs[1].lake.ledger.files.values()
    assert facts.cut
    assert list(facts.rows.values()) == [30] * 5


def test_rows_of_an_interval_are_those_of_its_days(tmp_path) -> None:
    write(rows_of(range(6)), tmp_path / "whole.parquet")
    cut, plain = kept(tmp_path, "whole.parquet"), EventLog(log_of(str(tmp_path / "*.parquet")), UTC)
    low, high = day_bounds_us(after(1), UTC)[0] + 7 * 3_600_000_000, day_bounds_us(after(4), UTC)[0]
    assert same(cut.between(low, high), plain.between(low, high))
    assert len(cut.between(low, low)) == 0
    assert set(cut.between(low, low).columns) == set(cut.between(low, high).columns)


def test_an_hour_that_is_there_twice_lies_in_one_day(tmp_path) -> None:
    """Berlin, 26 October 2025: 25 hours; no row of them is lost or told twice."""
    day = dt.date(2025, 10, 26)
    low, high = day_bounds_us(day, BERLIN)
    times = np.arange(low - 3_600_000_000, high + 3_600_000_000, 600_000_000)
    frame = rows_of(range(1), len(times)).with_columns(t=pl.Series(times // 1000))
    write(frame, tmp_path / "whole.csv")
    found = kept(tmp_path, "whole.csv", BERLIN)
    assert len(found.day(day)) == 25 * 6
    assert len(found.day(day - dt.timedelta(days=1))) == 6


@given(st.lists(st.integers(0, 10**15), max_size=60), st.sampled_from([UTC, BERLIN]))
@settings(max_examples=60, deadline=None)
def test_rows_are_counted_on_the_days_that_hold_them(moments, zone) -> None:
    low = day_bounds_us(D0, zone)[0]
    times = pl.Series([low + moment % (40 * 86_400_000_000) for moment in moments], dtype=pl.Int64)
    counts, undated = counted(pl.concat([times, pl.Series([None, None], dtype=pl.Int64)]), zone)
    assert undated == 2
    assert sum(counts.values()) == len(times)
    for day, count in counts.items():
        first, end = day_bounds_us(day, zone)
        assert count == times.is_between(first, end, closed="left").sum()


# ---- read once -----------------------------------------------------------------------------------


def test_a_day_opens_only_its_own_files(tmp_path, monkeypatch) -> None:
    for n in range(30):
        write(rows_of(range(n, n + 1)), tmp_path / f"{n:02}.parquet")
    log = kept(tmp_path, "*.parquet")
    with opened(monkeypatch) as files:
        log.lake.ingest()
    assert sorted(set(files)) == [f"{n:02}.parquet" for n in range(30)]
    with opened(monkeypatch) as files:
        log.day(after(7))
        log.between(*day_bounds_us(after(9), UTC))
    assert set(files) == {"07.parquet", "09.parquet"}
    with opened(monkeypatch) as files:  # another process
        again = kept(tmp_path, "*.parquet")
        again.lake.ingest()
        assert again.span() == (after(0), after(29))
    assert files == []


def test_a_file_that_is_cut_is_never_opened_again(tmp_path, monkeypatch) -> None:
    write(as_text(rows_of(range(9))), tmp_path / "month.csv")
    kept(tmp_path, "*.csv").lake.ingest()
    with opened(monkeypatch) as files:
        log = kept(tmp_path, "*.csv")
        assert len(log.day(after(4))) == 30
        assert log.undated().is_empty()
    assert set(files) <= {"month.csv"}  # its header, for the columns of no rows
    assert len(list((tmp_path / "lake").rglob("*.parquet"))) == 9


def test_who_only_reads_writes_nothing(tmp_path) -> None:
    write(rows_of(range(3)), tmp_path / "a.csv")
    log = EventLog(log_of(str(tmp_path / "a.csv")), UTC, lake=tmp_path / "lake")
    assert len(log.day(D0)) == 30
    assert not (tmp_path / "lake").exists()


def test_what_was_read_before_an_interruption_is_not_read_again(tmp_path, monkeypatch) -> None:
    for n in range(4):
        write(rows_of(range(n, n + 1)), tmp_path / f"{n}.csv")

    def stop(path: str) -> None:
        if path.endswith("1.csv"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        kept(tmp_path, "*.csv").lake.ingest(stop)
    with opened(monkeypatch) as files:
        log = kept(tmp_path, "*.csv")
        log.lake.ingest()
    assert set(files) == {"2.csv", "3.csv"}
    assert [len(log.day(after(n))) for n in range(4)] == [30] * 4


def test_rows_that_do_not_fit_into_memory_are_kept_aside_meanwhile(tmp_path, monkeypatch) -> None:
    write(rows_of(range(4), 200), tmp_path / "a.csv")
    expected = kept(tmp_path, "a.csv", lake="x").day(after(2)).frame
    monkeypatch.setattr(lake_module, "BUFFERED_BYTES", 1000)
    monkeypatch.setattr(lake_module, "WHOLE_BYTES", 0)
    monkeypatch.setattr(
        pl.LazyFrame,
        "collect_batches",
        lambda self, **_: iter(self.collect().iter_slices(50)),
    )
    assert same(kept(tmp_path, "a.csv", lake="y").day(after(2)).frame, expected)
    assert not list((tmp_path / "y").rglob("*.scrap"))


# ---- files that come late, change, vanish --------------------------------------------------------


def test_late_changed_and_vanished_files_are_told_with_their_days(tmp_path) -> None:
    for n in range(3):
        write(rows_of(range(n, n + 1)), tmp_path / f"{n}.parquet")
    log = kept(tmp_path, "*.parquet")
    assert log.lake.ingest() == []  # nothing was known
    assert log.lake.ingest() == []
    write(rows_of(range(1, 2), 35), tmp_path / "1.parquet")
    write(rows_of(range(2, 4), 5), tmp_path / "late.parquet")
    (tmp_path / "0.parquet").unlink()
    found = {
        Path(change.path).name: (change.what, dict(change.rows)) for change in log.lake.ingest()
    }
    assert found == {
        "0.parquet": ("vanished", {after(0): -30}),
        "1.parquet": ("changed", {after(1): 5}),
        "late.parquet": ("new", {after(2): 5, after(3): 5}),
    }
    assert log.span() == (after(1), after(3))
    assert len(log.day(after(2))) == 35


def test_a_file_of_the_same_bytes_is_no_change(tmp_path) -> None:
    write(rows_of(range(3)), tmp_path / "a.csv")
    log = kept(tmp_path, "*.csv")
    log.lake.ingest()
    (tmp_path / "a.csv").write_bytes((tmp_path / "a.csv").read_bytes())
    os.utime(tmp_path / "a.csv", (1, 1))
    assert log.lake.ingest() == []
    assert len(log.day(D0)) == 30


def test_a_file_that_was_rewritten_in_place_is_read_anew(tmp_path) -> None:
    path = tmp_path / "a.csv"
    write(rows_of(range(3)), path)
    log = kept(tmp_path, "*.csv")
    before = log.day(after(1)).frame
    write(rows_of(range(3)).with_columns(price=pl.lit(2.5)), path)
    log.lake.ingest()
    assert log.day(after(1)).frame["price"].to_list() == [2.5] * 30
    assert not same(log.day(after(1)).frame, before)
    assert len(list((tmp_path / "lake").rglob("*.parquet"))) == 3  # those of before are gone


def test_a_file_that_is_written_while_it_is_read_is_refused(tmp_path, monkeypatch) -> None:
    path = tmp_path / "a.csv"
    write(rows_of(range(1)), path)
    real = lake_module._digest

    def meanwhile(*given: str) -> str:
        found = real(*given)
        with open(path, "a") as handle:
            handle.write("1,2,3,4,1\n")
        return found

    monkeypatch.setattr(lake_module, "_digest", meanwhile)
    with pytest.raises(LogError, match=r"a\.csv was changed while it was read .* rename them"):
        kept(tmp_path, "*.csv").lake.ingest()
    monkeypatch.undo()
    assert len(kept(tmp_path, "*.csv").lake.ledger.files) == 1


def test_a_truncated_file_is_named_and_the_others_are_kept(tmp_path, monkeypatch) -> None:
    for n in range(3):
        write(rows_of(range(n, n + 1), 3000), tmp_path / f"{n}.parquet")
    whole = (tmp_path / "1.parquet").read_bytes()
    (tmp_path / "1.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(LogError, match=r"1\.parquet cannot be read; it may be truncated"):
        kept(tmp_path, "*.parquet").lake.ingest()
    (tmp_path / "1.parquet").write_bytes(whole)
    with opened(monkeypatch) as files:
        log = kept(tmp_path, "*.parquet")
        log.lake.ingest()
    assert set(files) == {"1.parquet", "2.parquet"}


def test_another_zone_or_unit_reads_everything_anew(tmp_path) -> None:
    write(rows_of(range(3)), tmp_path / "a.csv")
    first = kept(tmp_path, "*.csv")
    first.lake.ingest()
    other = kept(tmp_path, "*.csv", ZoneInfo("Asia/Shanghai"))
    assert len(other.lake.ledger.days) == 4
    plain = EventLog(log_of(str(tmp_path / "a.csv")), ZoneInfo("Asia/Shanghai"))
    assert same(other.day(after(1)).frame, plain.day(after(1)).frame)


# ---- which files ---------------------------------------------------------------------------------


def test_a_folder_stands_for_the_files_below_it(tmp_path) -> None:
    for n in range(3):
        (tmp_path / "log" / f"dt={after(n)}").mkdir(parents=True)
        write(rows_of(range(n, n + 1)), tmp_path / "log" / f"dt={after(n)}" / "part-0.parquet")
    (tmp_path / "log" / "_SUCCESS").touch()
    (tmp_path / "log" / f"dt={D0}" / ".part-0.parquet.crc").touch()
    (tmp_path / "log" / f"dt={D0}" / f"{TEMPORARY}part-1.parquet").write_text("half written")
    log = kept(tmp_path, "log")
    assert log.span() == (after(0), after(2))
    assert len(log.lake.ledger.files) == 3


def test_brackets_in_a_folder_are_no_pattern(tmp_path) -> None:
    (tmp_path / "logs [2025]").mkdir()
    write(rows_of(range(1)), tmp_path / "logs [2025]" / "a.parquet")
    assert len(kept(tmp_path, "logs [2025]/a.parquet").day(D0)) == 30
    assert len(kept(tmp_path, "logs [2025]").day(D0)) == 30


def test_times_as_text_are_read_in_whatever_ways_a_column_mixes(tmp_path) -> None:
    texts = [
        "2025-03-01 12:00:00",
        "2025-03-01T12:00:00.000001",
        "2025-03-01 12:00",
        "2025-03-01T13:00:00+01:00",
        "2025-03-01 12:00:00Z",
        str(int(dt.datetime(2025, 3, 1, 12, tzinfo=dt.UTC).timestamp() * 1000)),
        " 2025-03-01 12:00:00 ",
        "soon",
    ]
    for ordered in (texts, texts[::-1]):
        frame = rows_of(range(1), len(ordered)).with_columns(t=pl.Series(ordered))
        lake = Lake(log_of(str(tmp_path / "a.csv")), UTC)
        write(frame, tmp_path / "a.csv")
        [facts] = lake.ledger.files.values()
        assert (dict(facts.rows), facts.undated) == ({D0: 7}, 1)


# ---- what a reviewer found -----------------------------------------------------------------------


def test_who_only_reads_sees_what_comes_while_it_runs(tmp_path) -> None:
    """Also of a file that the run cuts anew meanwhile, sweeping the parts of before."""
    write(rows_of(range(3)), tmp_path / "a.csv")
    log, run = log_of(str(tmp_path / "*.csv")), kept(tmp_path, "*.csv")
    run.lake.ingest()
    reader = EventLog(log, UTC, lake=tmp_path / "lake")
    assert len(reader.day(after(2))) == 30
    write(rows_of(range(4), 40), tmp_path / "a.csv")
    write(rows_of(range(4, 5)), tmp_path / "b.csv")
    run.lake.ingest()
    assert len(reader.day(after(2))) == 40
    assert len(reader.between(*day_bounds_us(after(4), UTC))) == 30


def test_parts_that_two_files_share_hold_their_bytes_only(tmp_path, monkeypatch) -> None:
    for name in ("a.csv", "b.csv"):
        write(rows_of(range(2)), tmp_path / name)
    kept(tmp_path, "*.csv").lake.ingest()
    real = lake_module._digest

    def meanwhile(path: str, what: str) -> str:
        found = real(path, what)
        with open(path, "a") as handle:
            handle.write(f"{day_bounds_us(D0, UTC)[0] // 1000},x,1,1.0,1\n")
        return found

    os.utime(tmp_path / "b.csv", (5, 5))
    monkeypatch.setattr(lake_module, "_digest", meanwhile)
    with pytest.raises(LogError, match=r"b\.csv was changed while it was read"):
        kept(tmp_path, "*.csv").lake.ingest()
    monkeypatch.undo()
    (tmp_path / "b.csv").unlink()
    assert len(kept(tmp_path, "*.csv").day(D0)) == 30


def test_news_wait_until_they_are_taken(tmp_path) -> None:
    write(rows_of(range(1)), tmp_path / "a.csv")
    kept(tmp_path, "*.csv").lake.ingest()
    write(rows_of(range(1), 7), tmp_path / "b.csv")
    (tmp_path / "c.csv").write_text("")
    with pytest.raises(LogError, match=r"c\.csv"):
        kept(tmp_path, "*.csv").lake.ingest()
    (tmp_path / "c.csv").unlink()
    kept(tmp_path, "*.csv").lake.ingest()
    lake = kept(tmp_path, "*.csv").lake
    [change] = lake.take_news()
    assert (Path(change.path).name, dict(change.rows)) == ("b.csv", {D0: 7})
    assert lake.take_news() == kept(tmp_path, "*.csv").lake.take_news() == ()


def test_a_file_under_another_name_is_no_news(tmp_path) -> None:
    write(rows_of(range(1)), tmp_path / "a.csv")
    log = kept(tmp_path, "*.csv")
    log.lake.ingest()
    (tmp_path / "a.csv").rename(tmp_path / "b.csv")
    assert log.lake.ingest() == []
    assert len(log.day(D0)) == 30


@pytest.mark.parametrize("ending", ["arrow", "jsonl", "csv", "parquet"])
def test_brackets_in_a_name_are_no_pattern_either(tmp_path, ending) -> None:
    write(rows_of(range(1), 4), tmp_path / f"a[1].{ending}")
    write(rows_of(range(1), 12), tmp_path / f"a1.{ending}")
    assert len(kept(tmp_path, f"a[1].{ending}").day(D0)) == 4


def test_what_lies_in_a_hidden_folder_is_passed_over(tmp_path) -> None:
    (tmp_path / "in" / "_temporary" / "0").mkdir(parents=True)
    write(rows_of(range(1)), tmp_path / "in" / "a.parquet")
    write(rows_of(range(1), 9), tmp_path / "in" / "_temporary" / "0" / "b.parquet")
    assert len(kept(tmp_path, "in").day(D0)) == 30


def test_a_clock_set_back_over_midnight_loses_no_row(tmp_path) -> None:
    zone = ZoneInfo("America/St_Johns")  # in 2010 at 00:01 on 7 November
    low = day_bounds_us(dt.date(2010, 11, 5), zone)[0]
    high = day_bounds_us(dt.date(2010, 11, 9), zone)[1]
    times = np.arange(low, high, 300_000_000)
    frame = rows_of(range(1), len(times)).with_columns(t=pl.Series(times // 1000))
    for ending in ("csv", "parquet"):
        write(frame, tmp_path / f"whole.{ending}")
        log = kept(tmp_path, f"whole.{ending}", zone, ending)
        days = [dt.date(2010, 11, 5 + n) for n in range(5)]
        assert sum(len(log.day(day)) for day in days) == len(times)


@pytest.mark.parametrize("damage", ["", "{}", "null", "[]", '{"format": 1', '{"files": 1}'])
def test_a_damaged_ledger_is_made_again(tmp_path, damage) -> None:
    write(rows_of(range(3)), tmp_path / "a.csv")
    kept(tmp_path, "*.csv").lake.ingest()
    (tmp_path / "lake" / "feed" / "ledger.json").write_text(damage)
    assert len(kept(tmp_path, "*.csv").day(after(2))) == 30


def test_a_part_that_is_gone_is_cut_again(tmp_path) -> None:
    write(rows_of(range(3)), tmp_path / "a.csv")
    kept(tmp_path, "*.csv").lake.ingest()
    next((tmp_path / "lake").rglob(f"{after(1)}.parquet")).unlink()
    assert len(kept(tmp_path, "*.csv").day(after(1))) == 30


def test_undated_rows_of_a_cut_file_are_kept_with_its_parts(tmp_path, monkeypatch) -> None:
    frame = as_text(rows_of(range(2))).with_columns(
        t=pl.when(pl.int_range(pl.len()) == 3).then(pl.lit("soon")).otherwise(pl.col("t"))
    )
    write(frame, tmp_path / "a.csv")
    kept(tmp_path, "*.csv").lake.ingest()
    with opened(monkeypatch) as files:
        assert kept(tmp_path, "*.csv").undated()["t"].to_list() == ["soon"]
    assert files == []


def test_a_file_exchanged_while_a_day_is_read_in_place_is_told(tmp_path) -> None:
    write(rows_of(range(1)), tmp_path / "a.parquet")
    log = kept(tmp_path, "*.parquet")
    log.lake.ingest()
    write(rows_of(range(1), 40), tmp_path / "a.parquet")
    with pytest.raises(LogError, match=r"a\.parquet was changed while it was read"):
        log.day(D0)
    log.lake.ingest()
    assert len(log.day(D0)) == 40


@pytest.mark.parametrize("ending", ["parquet", "jsonl", "csv"])
def test_of_times_that_are_all_missing_no_unit_is_guessed(tmp_path, ending) -> None:
    write(rows_of(range(1)).with_columns(t=pl.lit(None)), tmp_path / f"a.{ending}")
    with pytest.raises(LogError, match="no readable time") as caught:
        kept(tmp_path, f"a.{ending}").undated()
    assert "plausible" not in str(caught.value)
