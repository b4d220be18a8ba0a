"""Layout: every path and key of a warehouse, spelt once.

WAREHOUSE/
  catalog/000000000001.json ...       the one switch; the highest number is the truth
  tombstones.json  erasures/0001.json who was erased, and the proofs
  quarantine/LOG/                     refused rows, with the reason
  lake/LOG/                           what is known of a log's files, and parts of those cut by day
  cache/LOG/DAY/KEY/                  encoded days
  backtests/NAME/                     warehouses of backtests
  tables/  audits/                    studies that are kept, and what the leak audit found
  tracking/                           training logged to TensorBoard
  lanes/NAME/                         the home of every other lane; of `main`, it is WAREHOUSE
    editions/DAY/ID/                  indexes of keys over segments
    segments/SNAPSHOT/ID/             rows, shared by editions
    daily/DAY/UPSTREAM-ID/SNAPSHOT/   fresh vectors of a day
    refused/DAY/ID/                   editions that a gate refused
    indexes/  online/                 what searches and look-ups read
    models/UPSTREAM/DAY/ID/           upstream checkpoints
    models/downstream/RANKER/DAY/     rankers
    predictions/RANKER/DAY.parquet  judged/RANKER/DAY.parquet
    reports/DAY.json  monitors/DAY.json
    replay.json                       days that are still to be run again
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MAIN = "main"
SHORT = 16  # hex digits of a fingerprint in a folder's name
DAYS = "????-??-??"


@dataclass(frozen=True)
class Layout:
    """The paths of one warehouse at `root`, as one of its lanes sees it."""

    root: Path
    lane: str = MAIN

    def of_lane(self, lane: str) -> Layout:
        return Layout(self.root, lane)

    @property
    def home(self) -> Path:
        """Where the lane keeps its editions, models and reports."""
        return self.root if self.lane == MAIN else self.root / "lanes" / self.lane

    def key(self, path: Path) -> str:
        """A path in the lane's home, as the catalog and manifests name it."""
        return path.relative_to(self.home).as_posix()

    def shared_key(self, path: Path) -> str:
        """A path anywhere in the warehouse, as manifests name it."""
        return path.relative_to(self.root).as_posix()

    def lanes_on_disk(self) -> list[str]:
        """Every lane but `main` that has left anything behind, published or not."""
        return [path.name for path in sorted((self.root / "lanes").glob("*")) if path.is_dir()]

    # ---- of the whole warehouse ----------------------------------------------------------------

    @property
    def tombstones(self) -> Path:
        return self.root / "tombstones.json"

    def erasures(self) -> list[Path]:
        """The proofs of erasures, in order."""
        return sorted((self.root / "erasures").glob("*.json"))

    def erasure(self, number: int) -> Path:
        return self.root / "erasures" / f"{number:04d}.json"

    @property
    def quarantine(self) -> Path:
        return self.root / "quarantine"

    @property
    def lake(self) -> Path:
        return self.root / "lake"

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def backtests(self) -> Path:
        return self.root / "backtests"

    def backtests_on_disk(self) -> list[Path]:
        return sorted((self.root / "backtests").glob("*"))

    def audit(self, key: str) -> Path:
        return self.root / "audits" / f"{key}.json"

    @property
    def tracking(self) -> Path:
        return self.home / "tracking"

    @property
    def page(self) -> Path:
        """The HTML report; beside it lie its tables and plots."""
        return self.root / "reports" / "index.html"

    @property
    def page_tables(self) -> Path:
        return self.root / "reports" / "tables"

    @property
    def page_plots(self) -> Path:
        return self.root / "reports" / "plots"

    def page_files(self) -> list[Path]:
        """All that the report has written in the lane's home."""
        folder, patterns = self.home / "reports", ("*.html", "tables/*", "plots/*")
        return [path for pattern in patterns for path in folder.glob(pattern) if path.is_file()]

    def kept_tables(self) -> list[Path]:
        return sorted((self.root / "tables").glob("*.json"))

    def kept_table(self, slug: str) -> Path:
        return self.root / "tables" / f"{slug}.json"

    def lake_parts(self, log: str) -> list[Path]:
        """The rows of a log that were copied out of its files, a file a day and source."""
        return sorted((self.lake / log / "parts").rglob("*.parquet"))

    def refused_rows(self, log: str) -> list[Path]:
        """The quarantine of a log, a file a day."""
        return sorted((self.root / "quarantine" / log).rglob("*.parquet"))

    # ---- of the lane: vectors --------------------------------------------------------------------

    def edition(self, day: dt.date, identity: str) -> Path:
        return self.home / "editions" / str(day) / identity

    def segment(self, snapshot: str, identity: str) -> Path:
        return self.home / "segments" / snapshot / identity

    def daily(self, day: dt.date, upstream: str, fingerprint: str) -> Path:
        return self.home / "daily" / str(day) / f"{upstream}-{fingerprint[:SHORT]}"

    def refused(self, day: dt.date, identity: str) -> Path:
        return self.home / "refused" / str(day) / identity

    def editions(self) -> Iterator[Path]:
        return (self.home / "editions").glob("*/*")

    def segments(self) -> list[Path]:
        return sorted((self.home / "segments").glob("*/*"))

    def dailies(self) -> Iterator[Path]:
        """The folders of a day's fresh vectors, an upstream each."""
        return (self.home / "daily").glob("*/*")

    def daily_segments(self) -> list[Path]:
        found = (self.home / "daily").glob("*/*/*/segment.json")
        return sorted(path.parent for path in found)

    def refusals(self) -> list[Path]:
        return sorted(path.parent for path in (self.home / "refused").glob("*/*/manifest.json"))

    @property
    def indexes(self) -> Path:
        return self.home / "indexes"

    @property
    def online(self) -> Path:
        return self.home / "online"

    def online_store(self, name: str) -> Path:
        return self.online / name

    def online_stores(self) -> list[Path]:
        return sorted(self.online.glob("*"))

    # ---- of the lane: models ---------------------------------------------------------------------

    def checkpoint(self, upstream: str, day: dt.date, fingerprint: str) -> Path:
        return self.home / "models" / upstream / str(day) / fingerprint[:SHORT]

    def checkpoints(self) -> Iterator[Path]:
        """Every upstream's; rankers lie in a folder of their own."""
        found = (self.home / "models").glob(f"*/{DAYS}/*")
        return (path for path in found if path.parts[-3] != "downstream")

    def rankers(self, consumer: str, day: dt.date, aligned: bool = False) -> Path:
        """A day's rankers; those that an aligned lane took over lie aside until the catalog says
        that it is aligned.
        """
        name = f"{day}-aligned" if aligned else str(day)
        return self.home / "models" / "downstream" / consumer / name

    def rankers_on_disk(self) -> Iterator[Path]:
        """A folder for each consumer and day, but for those taken over by an aligned lane."""
        return (self.home / "models" / "downstream").glob(f"*/{DAYS}")

    # ---- of the lane: what was predicted and written down ----------------------------------------

    def predictions(self, consumer: str, day: dt.date) -> Path:
        return self.home / "predictions" / consumer / f"{day}.parquet"

    def judged(self, consumer: str, day: dt.date) -> Path:
        return self.home / "judged" / consumer / f"{day}.parquet"

    def judged_days(self, consumer: str) -> list[dt.date]:
        found = (self.home / "judged" / consumer).glob("*.parquet")
        return sorted(dt.date.fromisoformat(path.stem) for path in found)

    def scores(self) -> dict[str, list[Path]]:
        """The files of predictions and of judged rows, by what they are."""
        kinds = ("predictions", "judged")
        return {kind: sorted((self.home / kind).glob("*/*.parquet")) for kind in kinds}

    @property
    def mirrored(self) -> Path:
        """Of which catalog the copies of reports are."""
        return self.root / "mirrored.json"

    def reported_days(self) -> list[dt.date]:
        """The days of which a copy of the report is there."""
        found = sorted((self.home / "reports").glob("*.json"))
        return [dt.date.fromisoformat(path.stem) for path in found]

    def report(self, day: dt.date) -> Path:
        return self.home / "reports" / f"{day}.json"

    def monitor(self, day: dt.date) -> Path:
        return self.home / "monitors" / f"{day}.json"

    @property
    def replay(self) -> Path:
        return self.home / "replay.json"

    @property
    def timed(self) -> Path:
        """Where rankers that are only timed would be saved."""
        return self.home / "timed"
