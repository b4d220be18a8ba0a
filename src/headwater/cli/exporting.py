"""The commands that hand out what was served: training-set, export feast."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headwater.cli.options import (
    FACTORY_YAML,
    AsJson,
    FactoryPath,
    LogKind,
    console_of,
    day_of,
    day_or_none,
)
from headwater.cli.terminal import answer, out

if TYPE_CHECKING:
    from headwater.exports.training_set import TrainingSet

LiveLane = Annotated[
    str | None, typer.Option("--lane", help="A lane of factory.yaml (default: the live one).")
]


def training_set(
    start: Annotated[str, typer.Option("--from", help="First day, YYYY-MM-DD.")],
    end: Annotated[str, typer.Option("--to", help="Last day, YYYY-MM-DD.")],
    out_file: Annotated[Path, typer.Option("--out", help="The Parquet file to write.")],
    of: Annotated[
        str | None,
        typer.Option(
            "--of", help="Whose rows: a log of factory.yaml (default: the only one with tasks)."
        ),
    ] = None,
    consumer: Annotated[
        str | None,
        typer.Option(
            "--consumer",
            help="Or a consumer: the rows of its task's log, with the counters it reads.",
        ),
    ] = None,
    embeddings: Annotated[
        str | None,
        typer.Option("--embeddings", help="Such as ctr_user,ctr_item, or none (default: all)."),
    ] = None,
    features: Annotated[
        bool, typer.Option(help="With what the entity tables and histories say.")
    ] = True,
    factory: FactoryPath = FACTORY_YAML,
    lane: LiveLane = None,
    as_json: AsJson = False,
    log: LogKind = "text",
) -> None:
    """Write rows for a model of your own, each with the vectors that were served to it,
    as one Parquet file.
    """
    from headwater.exports.training_set import TrainingSet

    rows = TrainingSet.load(
        factory,
        day_of(start),
        day_of(end),
        log=of,
        consumer=consumer,
        embeddings=_names_of(embeddings),
        features=features,
        lane=lane,
    )
    written = rows.write(out_file, console=console_of(log))
    _answer_written(rows, written, out_file, as_json)


def feast(
    out_dir: Annotated[Path, typer.Option("--out", help="An empty folder for the repository.")],
    start: Annotated[
        str | None,
        typer.Option("--from", help="First edition, YYYY-MM-DD (default: the first that is kept)."),
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", help="Last edition (default: the last).")
    ] = None,
    factory: FactoryPath = FACTORY_YAML,
    lane: LiveLane = None,
    as_json: AsJson = False,
    log: LogKind = "text",
) -> None:
    """Write the published vectors as a Feast repository, whose point-in-time join gives
    what was served.
    """
    from headwater.exports.feast import export_feast

    first = day_or_none(start)
    last = day_or_none(end)
    found = export_feast(factory, out_dir, first, last, lane=lane, console=console_of(log))

    def show(_: Any) -> None:
        for name, written in found.embeddings.items():
            out.print(f"{name}  {written.entities:,} entities, {written.rows:,} rows")
        out.print(f"editions {found.first_day} to {found.last_day}", markup=False)
        out.print(f"next: cd {out_dir} && feast apply", markup=False)

    answer(found.as_json(), as_json, show)


def _names_of(embeddings: str | None) -> list[str] | None:
    """The embeddings that `--embeddings` names; `none` of them is an empty list."""
    if embeddings is None:
        return None
    return [name for name in embeddings.split(",") if name != "none"]


def _answer_written(rows: TrainingSet, written: int, out_file: Path, as_json: bool) -> None:
    """What stands in a file of `written` rows."""
    columns = rows.schema.names
    found = {
        "file": str(out_file),
        "rows": written,
        "columns": columns,
        "log": rows.log.name,
        "lane": rows.lane,
        "spaces": {name: str(space) for name, space in rows.spaces.items()},
    }

    def show(_: Any) -> None:
        size = f"{written:,} rows of {len(rows.days)} days, {len(columns)} columns"
        out.print(f"{size}, with {', '.join(rows.spaces) or 'no embeddings'}")
        out.print(str(out_file), markup=False)

    answer(found, as_json, show)
