"""An edition written anew: in one segment, in another space, or aside for inspection."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headwater.blobs import Layout
from headwater.digests import digest_of
from headwater.embeddings.alignment import Rotation
from headwater.files import new_folder, read_json, write_json
from headwater.store.editions import MANIFEST, Edition
from headwater.store.merge import compact_part


def compact(layout: Layout, edition: Edition, bucket_rows: int) -> Edition:
    """The same edition, each snapshot in one segment, in a folder of its own. Readers follow it
    once a catalog names it.
    """
    folder = edition.folder.with_name(f"{edition.folder.name.split('-')[0]}-compact")
    snapshots = {name: dict(entry) for name, entry in edition.snapshots.items()}
    with new_folder(folder) as aside:
        for name, entry in snapshots.items():
            part = edition.part(name)
            names = [segment.folder.name for segment in part.segments]
            identity = f"{digest_of('compact', part.digest, names)[:24]}-c"
            segment = layout.segment(name, identity)
            entry["index"] = compact_part(part, segment, aside / name, bucket_rows)
            entry["segments"] = [identity]
        copy_notes(edition.folder, aside)
        manifest = read_json(edition.folder / MANIFEST)
        write_json(aside / MANIFEST, manifest | {"snapshots": snapshots})
    return Edition.load(folder)


def turn(
    layout: Layout, edition: Edition, rotations: Mapping[str, Rotation], bucket_rows: int
) -> Edition:
    """The edition with its vectors turned into another space, by upstream, in a folder of its
    own.
    """
    raw = read_json(edition.folder / MANIFEST)
    digests = {name: rotation.digest for name, rotation in rotations.items()}
    digest = digest_of("turned", edition.digest, digests)
    folder = layout.edition(edition.day, digest[:24])
    with new_folder(folder) as aside:
        snapshots = {}
        for name, entry in edition.snapshots.items():
            rotation = rotations.get(edition.space(name).upstream)
            if rotation is None:
                shutil.copytree(edition.part(name).folder, aside / name)
                snapshots[name] = dict(entry)
            else:
                turned = _turned(layout, edition, name, rotation, aside / name, bucket_rows)
                snapshots[name] = dict(entry) | turned
        copy_notes(edition.folder, aside)
        kept = _joined(raw["rotations"], rotations)
        changes = {"digest": digest, "snapshots": snapshots, "rotations": kept}
        write_json(aside / MANIFEST, raw | changes)
    return Edition.load(folder)


def _turned(
    layout: Layout,
    edition: Edition,
    name: str,
    rotation: Rotation,
    index: Path,
    bucket_rows: int,
) -> dict[str, Any]:
    """A snapshot's rows turned into one segment; what the manifest says of it then."""
    part = edition.part(name)
    digest = digest_of("turned", part.digest, rotation.digest)
    identity = f"{digest[:24]}-t"
    segment = layout.segment(name, identity)
    return {
        "digest": digest,
        "space": rotation.apply_to(part.space).as_json(),
        "segments": [identity],
        "index": compact_part(part, segment, index, bucket_rows, rotation.matrix_DD),
    }


def _joined(held: Mapping[str, Any], rotations: Mapping[str, Rotation]) -> dict[str, Any]:
    """The rotations that an edition had, and after them these."""
    before = {name: Rotation.from_json(old) for name, old in held.items()}
    return {
        name: (before[name].then(rotation) if name in before else rotation).as_json()
        for name, rotation in rotations.items()
    }


def set_aside(layout: Layout, edition: Edition, reasons: Mapping[str, Any]) -> Path:
    """Keep a refused edition for inspection, where no reader looks."""
    folder = layout.refused(edition.day, edition.folder.name)
    with new_folder(folder) as aside:
        shutil.copytree(edition.folder, aside, dirs_exist_ok=True)
        write_json(aside / "refused.json", reasons)
    return folder


def copy_notes(folder: Path, aside: Path) -> None:
    """What stands beside an edition's index: its manifest and its report."""
    for note in folder.glob("*.json"):
        shutil.copyfile(note, aside / note.name)
