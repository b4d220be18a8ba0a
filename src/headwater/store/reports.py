"""What is written down of a day: `report.json` in its edition, and copies of it for people."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from headwater.blobs import Layout
from headwater.embeddings.daily import Training
from headwater.embeddings.gates.cohorts import CohortCosine
from headwater.embeddings.gates.evidence import GateResult
from headwater.files import read_json, remove_file, write_json

FILE = "report.json"


@dataclass(frozen=True)
class Quality:
    """How a ranker did on the day whose labels are known since, by variant: ROC-AUC, and that
    within a `group` of rows that compete (named in words). Means over its seeds; None where the
    rows hold one class only.
    """

    day: dt.date
    rows: int
    roc_auc: Mapping[str, float | None]
    group: str = ""
    group_auc: Mapping[str, float | None] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return {
            "day": str(self.day),
            "rows": self.rows,
            "roc_auc": dict(self.roc_auc),
            "group": self.group,
            "group_auc": dict(self.group_auc),
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Quality:
        return cls(**{**raw, "day": dt.date.fromisoformat(raw["day"])})


@dataclass(frozen=True)
class ServingError:
    """What serving in fewer bytes costs: ||served - kept|| / ||kept||, over vectors."""

    encoding: str
    relative_error_mean: float | None
    relative_error_max: float | None

    def as_json(self) -> dict[str, Any]:
        return {
            "encoding": self.encoding,
            "relative_error_mean": self.relative_error_mean,
            "relative_error_max": self.relative_error_max,
        }


@dataclass(frozen=True)
class SnapshotHealth:
    """A snapshot's figures of the day: counts, cosines with the last edition, ages in days, and
    every gate.
    """

    rows: int
    fresh: int
    space: str
    digest: str
    segments: int
    cosine_median: float | None
    cosine_p10: float | None
    age_mean_days: float | None
    age_p90_days: float | None
    cohorts: Mapping[str, CohortCosine]
    gates: tuple[GateResult, ...]
    serving: ServingError | None = None

    def as_json(self) -> dict[str, Any]:
        found = {
            "rows": self.rows,
            "fresh": self.fresh,
            "space": self.space,
            "digest": self.digest,
            "segments": self.segments,
            "cosine_median": self.cosine_median,
            "cosine_p10": self.cosine_p10,
            "age_mean_days": self.age_mean_days,
            "age_p90_days": self.age_p90_days,
            "cohorts": {name: asdict(cohort) for name, cohort in self.cohorts.items()},
            "gates": [asdict(check) for check in self.gates],
        }
        return found if self.serving is None else found | {"serving": self.serving.as_json()}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> SnapshotHealth:
        plain = {name: raw[name] for name in cls.__dataclass_fields__ if name in raw}
        cohorts = {name: CohortCosine(**cohort) for name, cohort in raw["cohorts"].items()}
        gates = tuple(GateResult(**check) for check in raw["gates"])
        serving = ServingError(**raw["serving"]) if "serving" in raw else None
        return cls(**plain | {"cohorts": cohorts, "gates": gates, "serving": serving})


@dataclass(frozen=True)
class DayReport:
    """A day, as it was run. By log: `rows` read, `rejected` by reason, `erased` (passed over); by
    embedding: `coverage`, the share of the day's rows that were served a vector; `forced`: the
    gates that were overruled.
    """

    day: dt.date
    fingerprint: str
    edition: str
    upstream: Mapping[str, Training] = field(default_factory=dict)
    quality: Mapping[str, Quality] = field(default_factory=dict)
    rows: Mapping[str, int] = field(default_factory=dict)
    rejected: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    erased: Mapping[str, int] = field(default_factory=dict)
    coverage: Mapping[str, float] = field(default_factory=dict)
    forced: tuple[str, ...] = ()
    snapshots: Mapping[str, SnapshotHealth] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return {
            "day": str(self.day),
            "fingerprint": self.fingerprint,
            "edition": self.edition,
            "upstream": {name: training.as_json() for name, training in self.upstream.items()},
            "quality": {name: judged.as_json() for name, judged in self.quality.items()},
            "rows": dict(self.rows),
            "rejected": {log: dict(reasons) for log, reasons in self.rejected.items()},
            "erased": dict(self.erased),
            "coverage": dict(self.coverage),
            "forced": list(self.forced),
            "snapshots": {name: health.as_json() for name, health in self.snapshots.items()},
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> DayReport:
        return cls(
            day=dt.date.fromisoformat(raw["day"]),
            fingerprint=raw["fingerprint"],
            edition=raw["edition"],
            upstream={name: Training.from_json(found) for name, found in raw["upstream"].items()},
            quality={name: Quality.from_json(found) for name, found in raw["quality"].items()},
            rows=raw["rows"],
            rejected=raw["rejected"],
            erased=raw["erased"],
            coverage=raw["coverage"],
            forced=tuple(raw["forced"]),
            snapshots={
                name: SnapshotHealth.from_json(found) for name, found in raw["snapshots"].items()
            },
        )

    def of_edition(self, digest: str) -> DayReport:
        """The same day under an edition that took the place of its own."""
        return replace(self, edition=digest)

    def monitor_as_json(self) -> dict[str, Any]:
        """What a monitoring system reads of it: `monitors/DAY.json`."""
        kept = ("day", "edition", "forced", "coverage", "snapshots")
        raw = self.as_json()
        return {name: raw[name] for name in kept}


def write_report(folder: Path, report: DayReport) -> None:
    """Put a report into its edition's folder."""
    write_json(folder / FILE, report.as_json())


def read_report(folder: Path) -> DayReport | None:
    """The report in an edition's folder; None where there is none. Raises StoreError."""
    path = folder / FILE
    return DayReport.from_json(read_json(path)) if path.is_file() else None


def training_of(folder: Path, upstream: str) -> Training | None:
    """How an upstream learnt on the day of an edition, from the report in the edition's folder;
    None where nothing is written of it. Raises StoreError.
    """
    report = read_report(folder)
    return None if report is None else report.upstream.get(upstream)


def read_copy(layout: Layout, day: dt.date) -> DayReport | None:
    """The copy of a day's report, which stays when its edition goes; None where there is none."""
    path = layout.report(day)
    return DayReport.from_json(read_json(path)) if path.is_file() else None


def write_copies(layout: Layout, report: DayReport) -> None:
    """Bring `reports/DAY.json` and `monitors/DAY.json` in line with a report."""
    _copy(layout.report(report.day), report.as_json())
    _copy(layout.monitor(report.day), report.monitor_as_json())


def remove_copies(layout: Layout, day: dt.date) -> None:
    remove_file(layout.report(day))
    remove_file(layout.monitor(day))


def _copy(path: Path, value: Any) -> None:
    try:
        same = path.is_file() and json.loads(path.read_text()) == value
    except ValueError:  # damaged: it is only a copy
        same = False
    if not same:
        write_json(path, value)
