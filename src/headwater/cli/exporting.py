"""The commands that hand out what was served: training sets, and a repository for Feast."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

FactoryPath = Annotated[Path, typer.Option("--factory", help="The factory's config.")]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on stdout, and nothing else there.")
]
LogKind = Annotated[str, typer.Option("--log", help="Log lines on stderr: text or json.")]
OneLane = Annotated[
    str | None, typer.Option("--lane", help="A lane of factory.yaml (default: the live one).")
]
DEFAULT = Path("factory.yaml")


def register(app: typer.Typer) -> None:
    """Add the commands to the others."""
    app.command("training-set")(training_set)
    export = typer.Typer(
        help="Hand what was published to another system.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    export.callback()(lambda: None)
    export.command("feast")(feast)
    app.add_typer(export, name="export")


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
    factory: FactoryPath = DEFAULT,
    lane: OneLane = None,
    as_json: AsJson = False,
    log: LogKind = "text",
) -> None:
    """Write rows for a model of your own, each with the vectors that were served to it, as one
    Parquet file.
    """
    from headwater.cli.main import answer, console_of, day_of, out
    from headwater.exports.training_set import TrainingSet

    chosen = (
        None if embeddings is None else [name for name in embeddings.split(",") if name != "none"]
    )
    rows = TrainingSet.load(
        factory,
        day_of(start),
        day_of(end),
        log=of,
        consumer=consumer,
        embeddings=chosen,
        features=features,
        lane=lane,
    )
    written = rows.write(out_file, console=console_of(log))
    found = {
        "file": str(out_file),
        "rows": written,
        "columns": rows.schema.names,
        "log": rows.log.name,
        "lane": rows.lane,
        "spaces": {name: str(space) for name, space in rows.spaces.items()},
    }

    def show(_: Any) -> None:
        out.print(
            f"{written:,} rows of {len(rows.days)} days, {len(rows.schema.names)} columns, with"
            f" {', '.join(rows.spaces) or 'no embeddings'}"
        )
        out.print(str(out_file), markup=False)

    answer(found, as_json, show)


def feast(
    out_dir: Annotated[Path, typer.Option("--out", help="An empty folder for the repository.")],
    start: Annotated[
        str | None,
        typer.Option("--from", help="First edition, YYYY-MM-DD (default: the first that is kept)."),
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", help="Last edition (default: the last).")
    ] = None,
    factory: FactoryPath = DEFAULT,
    lane: OneLane = None,
    as_json: AsJson = False,
    log: LogKind = "text",
) -> None:
    """Write the published vectors as a Feast repository, whose point-in-time join gives what was
    served.
    """
    from headwater.cli.main import answer, console_of, day_of, out
    from headwater.exports.feast import export_feast

    first, last = (day_of(text) if text is not None else None for text in (start, end))
    found = export_feast(factory, out_dir, first, last, lane=lane, console=console_of(log))

    def show(_: Any) -> None:
        for name, written in found["embeddings"].items():
            out.print(f"{name}  {written['entities']:,} entities, {written['rows']:,} rows")
        out.print(
            f"editions {found['first_day']} to {found['last_day']}\nnext: cd {out_dir} && feast"
            " apply",
            markup=False,
        )

    answer(found, as_json, show)
