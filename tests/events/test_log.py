"""Logs: days cut in a zone; bad rows in quarantine with a reason; clear errors."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest

from headwater.errors import LogError
from headwater.events.cleaning import REASON
from headwater.events.log import EventLog
from headwater.events.times import day_bounds_us
from headwater.schema import Log, Numeric

DAY = dt.date(2025, 3, 1)
NOON_MS = int(dt.datetime(2025, 3, 1, 12, tzinfo=dt.UTC).timestamp() * 1000)


def make_log(path: str, **changes) -> Log:
    fields = {
        "name": "feed",
        "paths": (path,),
        "time": "ts",
        "time_unit": "ms",
        "entities": {"user": "u", "item": "i"},
        "features": {"price": Numeric()},
        "labels": ("clicked",),
        "join_keys": (),
        "event_id": None,
        "max_reject_share": 0.9,
    }
    return Log(**(fields | changes))


def rows(n: int = 6) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "ts": [NOON_MS + 1000 * k for k in range(n)],
            "u": [f"u{k}" for k in range(n)],
            "i": list(range(n)),
            "price": [1.5] * n,
            "clicked": [k % 2 for k in range(n)],
        }
    )


def test_bad_rows_go_to_quarantine_and_only_those(tmp_path: Path) -> None:
    good = rows(6)
    bad = pl.concat(
        [
            good[:1],  # a duplicate
            rows(7)[6:].with_columns(u=pl.lit(None, dtype=pl.String)),  # no user
            rows(8)[7:].with_columns(clicked=pl.lit(2, dtype=pl.Int64)),  # an impossible label
            rows(9)[8:].with_columns(price=pl.lit(float("inf"))),  # an impossible number
        ]
    )
    pl.concat([good, bad]).write_parquet(tmp_path / "feed.parquet")
    found = EventLog(
        make_log(str(tmp_path / "*.parquet")), ZoneInfo("UTC"), tmp_path / "quarantine"
    ).day(DAY)
    assert found.frame["u"].to_list() == good["u"].to_list()
    kept = pl.read_parquet(tmp_path / "quarantine" / "feed" / f"{DAY}.parquet")
    assert sorted(kept[REASON]) == [
        "clicked: label is not 0 or 1",
        "duplicate of an earlier row (ts, u, i)",
        "price: not finite",
        "u: missing user id",
    ]
    assert sum(found.rejected.values()) == 4


def test_csv_cells_that_are_no_number_or_time_are_refused(tmp_path: Path) -> None:
    lines = [
        "ts,u,i,price,clicked",
        f"{NOON_MS},a,1,2.5,1",
        f"{NOON_MS},b,1,cheap,1",
        f"{NOON_MS},c,1,,0",
        "yesterday,d,1,1,0",
        "2025-03-01 13:00:00,e,1,1,0",
        f"{NOON_MS},f,1,1,yes",
    ]
    (tmp_path / "feed.csv").write_text("\n".join(lines) + "\n")
    log = EventLog(make_log(str(tmp_path / "feed.csv")), ZoneInfo("UTC"), tmp_path / "q")
    found = log.day(DAY)
    assert sorted(found.frame["u"]) == [
        "a",
        "c",
        "e",
    ]  # an empty cell is missing, not bad; text times are read too
    assert dict(found.rejected) == {"price: not a number": 1, "clicked: label is not 0 or 1": 1}
    assert pl.read_parquet(tmp_path / "q" / "feed" / "undated.parquet")["u"].to_list() == ["d"]


def test_days_are_cut_at_local_midnight(tmp_path: Path) -> None:
    late = int(
        dt.datetime(2025, 2, 28, 17, tzinfo=dt.UTC).timestamp() * 1000
    )  # already 1 March in Shanghai
    rows(2).with_columns(ts=pl.Series([late, NOON_MS + 8 * 3_600_000])).write_parquet(
        tmp_path / "feed.parquet"
    )
    log = make_log(str(tmp_path / "feed.parquet"))
    assert EventLog(log, ZoneInfo("Asia/Shanghai")).day(DAY).frame["u"].to_list() == ["u0"]
    assert EventLog(log, ZoneInfo("UTC")).day(DAY).frame["u"].to_list() == ["u1"]


def test_a_day_of_23_hours_is_cut_rightly() -> None:
    low, high = day_bounds_us(dt.date(2025, 3, 30), ZoneInfo("Europe/Berlin"))
    assert (high - low) / 3_600_000_000 == 23


@pytest.mark.parametrize(
    "kind", ["int_s", "decimal_text", "datetime_utc", "datetime_naive", "iso_offset"]
)
def test_every_way_to_write_a_time_means_the_same_moment(tmp_path: Path, kind: str) -> None:
    moments = {
        "int_s": pl.Series([NOON_MS // 1000]),
        "decimal_text": pl.Series([f"{NOON_MS // 1000}.0"]),
        "datetime_utc": pl.Series([NOON_MS]).cast(pl.Datetime("ms")).dt.replace_time_zone("UTC"),
        "datetime_naive": pl.Series([NOON_MS + 8 * 3_600_000]).cast(
            pl.Datetime("ms")
        ),  # local time of the declared zone
        "iso_offset": pl.Series(["2025-03-01T20:00:00+08:00"]),
    }
    rows(1).with_columns(ts=moments[kind]).write_parquet(tmp_path / "feed.parquet")
    log = make_log(
        str(tmp_path / "feed.parquet"), time_unit="s" if kind in ("int_s", "decimal_text") else "ms"
    )
    assert EventLog(log, ZoneInfo("Asia/Shanghai")).day(DAY).frame["time_us"].to_list() == [
        NOON_MS * 1000
    ]


def test_too_many_bad_rows_refuse_the_day_but_are_kept(tmp_path: Path) -> None:
    rows(6).with_columns(clicked=pl.Series([5, 5, 5, 0, 1, 0])).write_parquet(
        tmp_path / "feed.parquet"
    )
    log = EventLog(
        make_log(str(tmp_path / "feed.parquet"), max_reject_share=0.2),
        ZoneInfo("UTC"),
        tmp_path / "q",
    )
    with pytest.raises(LogError, match=r"3 of 6 rows are bad \(50\.0%, allowed 20\.0%\)"):
        log.day(DAY)
    assert len(pl.read_parquet(tmp_path / "q" / "feed" / f"{DAY}.parquet")) == 3


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "feed.parquet"
    rows(500).write_parquet(path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(LogError, match=r"feed\.parquet cannot be read; it may be truncated"):
        EventLog(make_log(str(path)), ZoneInfo("UTC")).day(DAY)


def test_an_empty_day_says_what_the_log_covers(tmp_path: Path) -> None:
    rows().write_parquet(tmp_path / "feed.parquet")
    with pytest.raises(LogError, match="no rows on 2025-03-02.*covers 2025-03-01 to 2025-03-01"):
        EventLog(make_log(str(tmp_path / "feed.parquet")), ZoneInfo("UTC")).day(dt.date(2025, 3, 2))


def test_missing_columns_are_all_named(tmp_path: Path) -> None:
    rows().drop("price", "clicked").write_parquet(tmp_path / "feed.parquet")
    with pytest.raises(LogError, match="no column 'price', 'clicked'. It has: ts, u, i"):
        EventLog(make_log(str(tmp_path / "feed.parquet")), ZoneInfo("UTC")).day(DAY)


def test_a_wrong_time_unit_is_recognised(tmp_path: Path) -> None:
    rows().with_columns(pl.col("ts") // 1000).write_parquet(tmp_path / "feed.parquet")
    with pytest.raises(
        LogError, match="Read as 's' they are plausible: set logs.feed.time_unit: s"
    ):
        EventLog(
            make_log(str(tmp_path / "feed.parquet"), max_reject_share=0.05), ZoneInfo("UTC")
        ).day(DAY)


def test_no_file_is_an_error_not_an_empty_log(tmp_path: Path) -> None:
    with pytest.raises(LogError, match="no file matches"):
        EventLog(make_log(str(tmp_path / "none*.parquet")), ZoneInfo("UTC")).day(DAY)


def test_the_order_of_files_and_rows_does_not_matter(tmp_path: Path) -> None:
    shuffled = rows(40).sample(fraction=1.0, shuffle=True, seed=3)
    shuffled[:25].write_parquet(tmp_path / "b.parquet")
    shuffled[25:].write_parquet(tmp_path / "a.parquet")
    split = EventLog(make_log(str(tmp_path / "?.parquet")), ZoneInfo("UTC")).day(DAY)
    rows(40).write_parquet(tmp_path / "whole.parquet")
    whole = EventLog(make_log(str(tmp_path / "whole.parquet")), ZoneInfo("UTC")).day(DAY)
    assert split.frame.equals(whole.frame)
    assert np.array_equal(split.keys("user"), whole.keys("user"))
