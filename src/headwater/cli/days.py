"""The commands of a running factory: run, backfill, status."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from headwater.cli.options import (
    FACTORY_YAML,
    MAIN,
    AsJson,
    FactoryPath,
    LogKind,
    console_of,
    day_of,
)
from headwater.cli.terminal import answer, out, plain_table
from headwater.console import Console
from headwater.errors import ConfigError, HeadwaterError

if TYPE_CHECKING:
    from headwater.factory import Factory
    from headwater.store.reports import DayReport

T = TypeVar("T")
Day = Annotated[str, typer.Option("--day", help="A day, YYYY-MM-DD, in the factory's time zone.")]
Force = Annotated[
    bool,
    typer.Option("--force", help="Publish an edition that a gate refuses, and write that down."),
]
OneLane = Annotated[
    str | None, typer.Option("--lane", help="One lane only (default: main, and every open lane).")
]


def run(
    day: Day,
    factory: FactoryPath = FACTORY_YAML,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace", help="Run a missed, late or corrected day (again), and every later day."
        ),
    ] = False,
    force: Force = False,
    lane: OneLane = None,
    as_json: AsJson = False,
    log: LogKind = "text",
) -> None:
    """Run one day in every open lane: judge, learn, embed, aggregate, gate, publish.
    A day done from the same inputs is left as it is.
    """
    console = console_of(log)

    def work(made: Factory) -> DayReport | None:
        if lane is None and _began_after(made, day_of(day)):
            return None
        return made.run_day(day_of(day), replace, force)

    found = {name: run_lane(factory, name, console, work) for name in lanes_of(factory, lane)}
    reports = {name: report for name, report in found.items() if report is not None}

    def show(_: Any) -> None:
        for name, report in reports.items():
            out.print(f"{report.day}  edition {report.edition}{_of_lane(name, '  lane {}')}")

    of_lanes = {name: report.as_json() for name, report in reports.items()}
    lanes = {"lanes": of_lanes} if len(of_lanes) > 1 else {}
    answer(next(iter(of_lanes.values())) | lanes, as_json, show)


def backfill(
    start: Annotated[str, typer.Option("--from", help="First day, YYYY-MM-DD.")],
    end: Annotated[str, typer.Option("--to", help="Last day, YYYY-MM-DD.")],
    factory: FactoryPath = FACTORY_YAML,
    report: Annotated[bool, typer.Option(help="Write the HTML report at the end.")] = True,
    force: Force = False,
    lane: OneLane = None,
    as_json: AsJson = False,
    log: LogKind = "text",
) -> None:
    """Run many days in every open lane. Interrupt it as you like: the same command
    goes on where it stopped.
    """
    console = console_of(log)

    def work(made: Factory) -> list[DayReport]:
        first = day_of(start) if lane is not None else _first_to_run(made, day_of(start))
        return list(made.backfill(first, day_of(end), force))

    by_lane = {}
    for name in lanes_of(factory, lane):
        ran = run_lane(factory, name, console, work)
        by_lane[name] = [{"day": str(found.day), "edition": found.edition} for found in ran]
    days = next(iter(by_lane.values()))
    page = _report_of(factory, console) if report else None

    def show(_: Any) -> None:
        last = f"{len(days)} days done, {days[-1]['day']} the last"
        out.print(last if page is None else f"{last}\nreport   {page}")

    lanes = {"lanes": by_lane} if len(by_lane) > 1 else {}
    answer({"days": days, "report": page} | lanes, as_json, show)


def status(factory: FactoryPath = FACTORY_YAML, as_json: AsJson = False) -> None:
    """Days, editions, the live one, spaces, coverage, freshness."""
    from headwater.serving.reader import Reader

    answer(Reader.load(factory).status().as_json(), as_json, _show_status)


def lanes_of(factory: Path, lane: str | None) -> tuple[str, ...]:
    """The lanes to run: the one asked for, or all that are open. Raises ConfigError."""
    from headwater.config import load_config

    config = load_config(factory)
    names = (lane,) if lane is not None else config.open_lanes()
    for name in names:
        config.for_lane(name)  # every lane's faults, before the first is run
    if not names:
        raise ConfigError(
            f"{factory}: every lane is closed, so there is nothing to run. Open one under `lanes`."
        )
    return names


def run_lane(factory: Path, lane: str, console: Console, work: Callable[[Factory], T]) -> T:
    """Do some work with a factory as one of its lanes, and let go of its worker processes."""
    from headwater.factory import Factory

    if lane != MAIN:
        console.log(f"lane {lane}")
    made = Factory.load(factory, console, lane)
    try:
        return work(made)
    finally:
        made.close()


def _began_after(made: Factory, day: dt.date) -> bool:
    """Whether a lane other than main began after a day, and says that it is passed over.

    A day slipped in before the lane's first would change its space, so it is run only where the
    lane was asked for by name.
    """
    days = made.days_done()
    if made.workspace.lane == MAIN or not days or day >= days[0]:
        return False
    run, lane = made.run, made.workspace.lane
    run.console.log(f"lane {lane} began on {days[0]}; {day} is passed over")
    return True


def _first_to_run(made: Factory, start: dt.date) -> dt.date:
    """Where a backfill of every lane begins in this one: not before the lane's own first day."""
    days = made.days_done()
    return start if made.workspace.lane == MAIN or not days else max(start, days[0])


def _report_of(factory: Path, console: Console) -> str | None:
    """Write the report; None, and a line that says why, where that cannot be done."""
    from headwater.report.report import write_report

    try:
        return str(write_report(factory, console=console))
    except HeadwaterError as error:  # the days are done all the same
        console.log(f"no report: {error}")
        return None


def _of_lane(lane: str | None, template: str = " (lane {})") -> str:
    """A note that names a lane; main needs none."""
    return "" if lane in (None, MAIN) else template.format(lane)


def _show_status(found: dict[str, Any]) -> None:
    out.print(
        f"{found['factory']}  {found['warehouse']}\n"
        f"live: {found['live'] or 'none'}{_of_lane(found['live_lane'])}\n"
    )
    kept = [edition for edition in found["editions"] if edition["rows"]]
    names = list(kept[-1]["rows"]) if kept else []
    table = plain_table(
        "day",
        "edition",
        *names,
        "",
        title="vectors published, and the share of that day's rows that were served one",
    )
    for edition in found["editions"]:
        cells = [
            f"{edition['rows'].get(name, 0):,} ({edition['coverage'].get(name, 0):.0%})"
            for name in names
        ]
        notes = ", ".join(_notes_of(edition))
        table.add_row(edition["day"], edition["digest"][:12], *cells, notes)
    out.print(table)
    for lane, days in found["withdrawn"].items():
        out.print(f"rolled back: {', '.join(days)}{_of_lane(lane)}")
    newest = {edition["lane"]: edition for edition in kept}
    for lane, edition in newest.items():
        for name, space in edition["spaces"].items():
            out.print(f"space of {name}: {space}{_of_lane(lane)}")


def _notes_of(edition: dict[str, Any]) -> list[str]:
    """What `status` says of an edition beside its figures."""
    notes = ["live"] if edition["live"] else []
    notes += [f"pinned by {name}" for name in edition["pinned_by"]]
    if edition["lane"] != MAIN:
        notes.append(f"lane {edition['lane']}")
    if edition["forced"]:
        notes.append("by force")
    if not edition["rows"]:
        notes.append("removed by retention")
    return notes
