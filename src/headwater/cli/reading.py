"""The commands that read the live edition: lookup, similar, retrieve."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from headwater.cli.options import FACTORY_YAML, AsJson, FactoryPath
from headwater.cli.terminal import answer, out, plain_table
from headwater.errors import ConfigError

SHOWN_NUMBERS = 8  # of a vector, on one line

Upstream = Annotated[
    str | None,
    typer.Option("--upstream", help="Whose space to search (default: the first declared)."),
]
Neighbours = Annotated[int, typer.Option("-k", min=1, help="How many.")]
As = Annotated[
    str | None,
    typer.Option(
        "--as", help="Read as this consumer: what it has pinned, or else the live edition."
    ),
]


def lookup(
    entity: Annotated[str, typer.Argument(help="user or item.")],
    ids: Annotated[list[str], typer.Argument(help="One id or more.")],
    consumer: As = None,
    factory: FactoryPath = FACTORY_YAML,
    as_json: AsJson = False,
) -> None:
    """The vectors of entities, from the live edition."""
    from headwater.serving.reader import Reader

    def show(found: dict[str, Any]) -> None:
        out.print(f"edition {found['edition']} ({found['digest'][:12]})")
        for value, by_name in found["vectors"].items():
            unseen = found["content_only"].get(value, ())
            for name, vector in by_name.items():
                mark = "  (of its content alone: never seen)" if name in unseen else ""
                _show_vector(f"{entity} {value}  {name}", vector, mark)

    found = Reader.load(factory, consumer).lookup(entity, ids)
    answer(found.as_json(), as_json, show)


def similar(
    entity: Annotated[str, typer.Argument(help="item.")],
    value: Annotated[str, typer.Argument(metavar="ID")],
    k: Neighbours = 10,
    upstream: Upstream = None,
    consumer: As = None,
    factory: FactoryPath = FACTORY_YAML,
    as_json: AsJson = False,
) -> None:
    """The items most like an item, from the live edition."""
    from headwater.serving.reader import Reader

    found = Reader.load(factory, consumer).similar(entity, value, k, upstream)
    answer(found.as_json(), as_json, lambda shown: _show_neighbours(shown, "cosine"))


def retrieve(
    user: Annotated[str, typer.Argument(metavar="USER")],
    k: Neighbours = 10,
    upstream: Upstream = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--where",
            metavar="COLUMN=VALUE",
            help=(
                "Only items whose row of the item table says so; also with !=, <, <=, > or >=."
                " Of several = on one column, one is enough."
            ),
        ),
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option("--exclude", metavar="ID", help="Not this item.")
    ] = None,
    ids_from: Annotated[
        Path | None, typer.Option("--ids-from", help="Only the items of this file, one id a line.")
    ] = None,
    unseen: Annotated[
        bool,
        typer.Option("--exclude-seen", help="Not the items that stand beside the user in the log."),
    ] = False,
    consumer: As = None,
    factory: FactoryPath = FACTORY_YAML,
    as_json: AsJson = False,
) -> None:
    """The best items for a user, from the live edition; filtered answers are exact."""
    from headwater.serving.reader import Reader

    reader = Reader.load(factory, consumer)
    only = None if ids_from is None else _ids_of(ids_from)
    found = reader.retrieve(user, k, upstream, where or (), exclude or (), only, unseen)
    answer(found.as_json(), as_json, lambda shown: _show_neighbours(shown, "score"))


def _ids_of(file: Path) -> list[str]:
    """The ids of a file, one a line. Raises ConfigError where it cannot be read."""
    try:
        return [line.strip() for line in file.read_text().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"--ids-from {file}: cannot be read ({error}); expected text, one id a line."
        ) from None


def _show_vector(title: str, vector: list[Any], mark: str) -> None:
    """The first numbers of a vector, or of each of a sequence that a policy serves."""
    rows = vector if isinstance(vector[0], list) else [vector]
    for row in rows:  # newest first
        numbers = " ".join(f"{x:+.3f}" for x in row[:SHOWN_NUMBERS])
        out.print(f"{title}  [{len(row)}]  {numbers} ...{mark}", markup=False)


def _show_neighbours(found: dict[str, Any], score: str) -> None:
    title = f"{found['embedding']} near {found['query']}, edition {found['edition']}"
    table = plain_table("id", score, title=title)
    for item in found["items"]:
        table.add_row(str(item["id"]), f"{item['score']:.4f}")
    out.print(table)
