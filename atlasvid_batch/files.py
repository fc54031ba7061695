"""The files of a job: fetched from its server, or found there after a restart, when the server has
forgotten the job.
"""

from __future__ import annotations

import re
import tempfile
import urllib.error
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from .client import Client, is_final
from .jobs import Job, saving_nodes, tag_of
from .whole import KINDS, is_whole

# What a saver writes as one file, and which tells whether it is whole. Pictures come in numbers: of
# those that are there nobody knows whether they are all.
SINGLE = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".gif", ".safetensors", ".latent")
WITH_TAIL, WITHOUT = "{}_{:05}_{}", "{}_{:05}{}"  # how savers name a file: prefix, number, kind


class NotFetched(RuntimeError):
    """A file that the server does not give out, or that is not whole."""


def fetch(client: Client, files: list[dict], key: str, batch: str, folder: Path) -> list[str]:
    """Brings a job's files below `folder` -> where they are. Raises NotFetched, OSError."""
    names = []
    for file in files:
        tag = tag_of(key, batch)
        name = place_of(file, key, tag)
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            if not (tag in target.name and _is_kept(target)):  # another job's may have this name
                client.save(file, target)
        except urllib.error.HTTPError as error:
            if not is_final(error):
                raise
            gone = "is gone from" if error.code == 404 else f"is not given out ({error}) by"
            raise NotFetched(f"{target.name} {gone} {client.base_url}") from None
        if target.suffix.lower() in KINDS and not is_whole(target):
            target.unlink()
            raise NotFetched(f"{target.name} on {client.base_url} is damaged")
        names.append(name)
    return names


def _is_kept(target: Path) -> bool:
    """Whether a file lies here whole; one that was cut short, or is empty, is fetched again."""
    if not target.exists():
        return False
    known = target.suffix.lower() in KINDS
    return is_whole(target) if known else target.stat().st_size > 0


def place_of(file: dict, key: str, tag: str) -> str:
    """Where a server's file goes below the batch's folder: as on the server, never outside.

    One that does not hold its job's tag goes into a folder of the job: others may have its name.
    """
    path = f"{file['subfolder']}/{file['filename']}".replace("\\", "/")
    parts = [p for p in PurePosixPath(path).parts if p not in ("/", "..")]
    parts = [re.sub(r'[<>:"|?*]', "_", p) for p in parts]  # Windows takes none of these
    return "/".join(("files", *(() if tag in parts[-1] else (key,)), *parts))


def find_files(client: Client, job: Job) -> list[dict] | None:
    """The job's saved files in the output folder; None where one is missing or not whole, or where
    that can't be known: pictures, several files of one saver, a name that is not known beforehand.
    """
    found = [_only(client, job.workflow[node]["inputs"]) for node in saving_nodes(job.workflow)]
    files = [file for file in found if file is not None]
    return files if files and len(files) == len(found) else None


def _only(client: Client, inputs: Mapping[str, Any]) -> dict | None:
    """The one file of a saver with these inputs."""
    prefix = inputs["filename_prefix"]
    if not isinstance(prefix, str) or "%" in prefix:
        return None
    folder, _, name = prefix.replace("\\", "/").rpartition("/")

    def file(shape: str, number: int, kind: str) -> dict:
        filename = shape.format(name, number, kind)
        return {"filename": filename, "subfolder": folder, "type": "output"}

    # Savers that leave the tail out add the sound in a second file: the first one is not all.
    shapes = (WITH_TAIL,) if "audio" in inputs else (WITH_TAIL, WITHOUT)
    there = [
        (shape, kind) for shape in shapes for kind in SINGLE if client.exists(file(shape, 1, kind))
    ]
    if len(there) != 1:
        return None
    ((shape, kind),) = there
    one = file(shape, 1, kind)
    return one if not client.exists(file(shape, 2, kind)) and _is_whole(client, one) else None


def _is_whole(client: Client, file: dict) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "file"
        copy = copy.with_suffix(PurePosixPath(file["filename"]).suffix)
        client.save(file, copy)
        return is_whole(copy)
