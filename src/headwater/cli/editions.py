"""The commands that change what is published.

promote, rollback, pin, unpin, compact, align, erase, rebuild.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from headwater.cli.options import (
    FACTORY_YAML,
    MAIN,
    AsJson,
    FactoryPath,
    Lane,
    day_of,
    day_or_none,
)
from headwater.cli.terminal import answer, out, plain_table


def promote(
    day: Annotated[str, typer.Argument(help="The day whose edition readers follow from now on.")],
    factory: FactoryPath = FACTORY_YAML,
    lane: Lane = MAIN,
    as_json: AsJson = False,
) -> None:
    """Switch readers to a published day, or to another lane, in one atomic step."""
    from headwater.cli.warehouses import open_warehouse
    from headwater.lifecycle import promote as to_live

    with open_warehouse(factory, lane=lane) as workspace:
        _answer_live(to_live(workspace, lane, day_of(day)), as_json)


def rollback(
    to: Annotated[
        str | None,
        typer.Option("--to", help="The day to go back to (default: the one before the live one)."),
    ] = None,
    factory: FactoryPath = FACTORY_YAML,
    as_json: AsJson = False,
) -> None:
    """Take readers and averages back to an earlier day, in one atomic step; the next
    day continues from there.
    """
    from headwater.cli.warehouses import open_warehouse
    from headwater.lifecycle import rollback as back

    with open_warehouse(factory, settled=False) as workspace:
        _answer_live(back(workspace, day_or_none(to)), as_json)


def pin(
    consumer: Annotated[str, typer.Argument(help="Who reads the pinned edition, with --as.")],
    day: Annotated[str, typer.Argument(help="The day to stay on.")],
    factory: FactoryPath = FACTORY_YAML,
    lane: Lane = MAIN,
    as_json: AsJson = False,
) -> None:
    """Keep a consumer on one edition while others move on; retention keeps that edition."""
    from headwater.cli.warehouses import open_warehouse
    from headwater.lifecycle import pin as hold

    with open_warehouse(factory, lane=lane) as workspace:
        _answer_live(hold(workspace, consumer, lane, day_of(day)), as_json)


def unpin(
    consumer: Annotated[str, typer.Argument()],
    factory: FactoryPath = FACTORY_YAML,
    as_json: AsJson = False,
) -> None:
    """Let a consumer follow the live edition again."""
    from headwater.cli.warehouses import open_warehouse
    from headwater.lifecycle import unpin as let_go

    with open_warehouse(factory) as workspace:
        _answer_live(let_go(workspace, consumer), as_json)


def compact(
    factory: FactoryPath = FACTORY_YAML, lane: Lane = MAIN, as_json: AsJson = False
) -> None:
    """Rewrite the newest edition of a lane into one segment a snapshot, and remove
    what no edition needs (a run does so when it is due).
    """
    from headwater.cli.warehouses import open_warehouse
    from headwater.lifecycle import compact_where_due, retire

    with open_warehouse(factory, lane=lane) as workspace:
        found = {
            "compacted": compact_where_due(workspace, lane, always=True),
            "removed": retire(workspace),
        }

    def show(_: Any) -> None:
        out.print(f"compacted: {', '.join(found['compacted']) or 'nothing'}")
        out.print(f"removed: {len(found['removed'])} folders")

    answer(found, as_json, show)


def align(
    lane: Annotated[str, typer.Option("--lane", help="The lane whose new space is turned.")],
    onto: Annotated[
        str, typer.Option("--onto", help="The lane whose space, and rankers, it takes over.")
    ] = MAIN,
    factory: FactoryPath = FACTORY_YAML,
    as_json: AsJson = False,
) -> None:
    """Lay a lane's new space upon another's by a rotation, so that its readers go on
    without retraining; refuses where that would mislead.
    """
    from headwater.cli.warehouses import open_warehouse
    from headwater.lifecycle import align_lane

    def show(found: dict[str, Any]) -> None:
        columns = ("upstream", "shared", "cosine raw", "aligned", "residual")
        laid = f"{lane} laid upon {onto}, {found['day']}"
        table = plain_table(*columns, title=f"{laid}, on other entities than it was fitted on")
        for name, fit in found["upstreams"].items():
            figures = (fit["cosine_raw"], fit["cosine"], fit["residual"])
            table.add_row(name, f"{fit['shared']:,}", *(f"{figure:.3f}" for figure in figures))
        out.print(table)
        out.print(f"next: headwater promote {found['day']} --lane {lane} --factory {factory}")

    with open_warehouse(factory, lane=lane) as workspace:
        answer(align_lane(workspace, lane, onto).as_json(), as_json, show)


def erase(
    entity: Annotated[str, typer.Argument(help="user, item...")],
    ids: Annotated[list[str], typer.Argument(help="One id or more.")],
    factory: FactoryPath = FACTORY_YAML,
    as_json: AsJson = False,
) -> None:
    """Remove entities from every place of the warehouse, for good, and write the proof."""
    from headwater.cli.warehouses import erase_entities

    def show(found: dict[str, Any]) -> None:
        title = f"erased: {len(ids)} {entity} ids"
        table = plain_table("place", "looked at", "removed", title=title)
        for place in found["places"]:
            looked_at = place.get("rows", place.get("files", 0))
            table.add_row(place["place"], f"{looked_at:,}", f"{place['removed']:,}")
        out.print(table)
        if not any(place["removed"] for place in found["places"]):
            out.print(
                "no row of these ids was found anywhere: check their spelling."
                " They are kept out from now on."
            )
        for line in found["not_removed"]:
            out.print(f"not removed: {line}", markup=False)
        out.print(f"proof    {found['proof']}", markup=False)

    proof = erase_entities(factory, entity, ids)
    about = {"proof": str(proof.path), "entity": entity, "asked_for": len(ids)}
    answer(proof.as_json() | about, as_json, show)


def rebuild(
    out_dir: Annotated[
        Path, typer.Option("--out", help="An empty folder: a warehouse of its own.")
    ],
    policy: Annotated[
        str | None,
        typer.Option(
            "--policy",
            help="As in factory.yaml, such as '{kind: mean, k: 7}' (default: the declared one).",
        ),
    ] = None,
    start: Annotated[
        str | None, typer.Option("--from", help="First day (default: the first that is kept).")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", help="Last day (default: the last).")] = None,
    factory: FactoryPath = FACTORY_YAML,
    lane: Lane = MAIN,
    as_json: AsJson = False,
) -> None:
    """Make the editions again from the daily snapshots, under any policy or window,
    without training anything.
    """
    from headwater.cli.warehouses import open_warehouse
    from headwater.config import parse_policy
    from headwater.lifecycle import rebuild as fold

    given = None if policy is None else parse_policy(policy)
    first = day_or_none(start)
    last = day_or_none(end)
    with open_warehouse(factory, lane=lane) as workspace:
        days = [made.as_json() for made in fold(workspace, out_dir, given, first, last)]

    def show(_: Any) -> None:
        span = f"{days[0]['day']} to {days[-1]['day']}"
        out.print(f"{len(days)} editions, {span}, in {out_dir}")

    answer({"warehouse": str(out_dir), "days": days}, as_json, show)


def _answer_live(catalog: Any, as_json: bool) -> None:
    """What readers follow after a switch: the live edition, pins, and days rolled back."""
    live = catalog.live
    lane = live.lane if live else MAIN
    pins = {name: str(pin.entry.day) for name, pin in catalog.pins.items()}
    withdrawn = [str(entry.day) for entry in catalog.lane(lane).withdrawn]
    found = {
        "live": str(live.entry.day) if live else None,
        "lane": lane,
        "digest": live.entry.digest if live else None,
        "pins": pins,
        "withdrawn": withdrawn,
    }

    def show(_: Any) -> None:
        if live:
            edition = live.entry.digest[:12]
            out.print(f"live: {live.entry.day} (lane {lane}), edition {edition}")
        else:
            out.print("live: none")
        for name, day in pins.items():
            out.print(f"pinned by {name}: {day}")
        if withdrawn:
            out.print(f"rolled back: {', '.join(withdrawn)}")

    answer(found, as_json, show)
