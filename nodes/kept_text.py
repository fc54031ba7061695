"""Prompts encoded once and kept: named by the prompt and by all that the encoder is made of, which
the workflow tells before anything is loaded.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from ..atlasvid_core.conditioning_file import (
    NotStorable,
    is_conditioning,
    load_conditioning,
    save_conditioning,
)
from .fingerprint import fingerprint

KEEP_BYTES = 20 * 2**30
HEAD_BYTES, SAMPLE_BYTES, SAMPLES = 2**20, 4096, 256


class Unnamed(Exception):
    """An encoder that has no lasting name; the text says why."""


def encoder_of(
    prompt: Mapping[str, Any],
    node: str,
    source: str,
    file_of: Callable[[str], Path | None],
    changes: Callable[[str], bool],
) -> list:
    """What feeds the input `source` of a node: kinds, settings, and the content of files.

    prompt: the workflow in API format. file_of: a setting -> the model file that it names.
    changes: whether a kind of node gives another result each time. Raises Unnamed.
    """
    link = prompt.get(node, {}).get("inputs", {}).get(source)
    if not _is_link(link):
        raise Unnamed("the workflow does not show what feeds it")

    def told(link: list) -> list:
        above = prompt.get(link[0])
        if above is None:
            raise Unnamed(f"node {link[0]} is not in the workflow")
        if changes(above["class_type"]):
            raise Unnamed(f"{above['class_type']} may give something else each time")
        inputs: dict[str, Any] = {}
        for name, value in above["inputs"].items():
            inputs[name] = told(value) if _is_link(value) else setting(value)
        return [above["class_type"], link[1], inputs]

    def setting(value: Any) -> Any:
        file = file_of(value) if isinstance(value, str) else None
        return value if file is None else [file.name, content_of(file)]

    return told(link)


def content_of(file: Path) -> str:
    """A name for a file's content from its size, its head and SAMPLES places spread over it."""
    stat = file.stat()
    return _content_of(file, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=64)
def _content_of(file: Path, size: int, changed_ns: int) -> str:
    digest = hashlib.sha256(str(size).encode())
    with file.open("rb") as opened:
        digest.update(opened.read(HEAD_BYTES))
        for i in range(SAMPLES):
            opened.seek(max(0, size - SAMPLE_BYTES) * i // (SAMPLES - 1))
            digest.update(opened.read(SAMPLE_BYTES))
    return digest.hexdigest()[:32]


class KeptTexts:
    """Conditioning in `folder`, each file named by the prompt's first words and a key."""

    def __init__(self, folder: Path):
        self.folder = folder

    def path(self, text: str, *encoder: Any) -> Path:
        words = "-".join(re.findall(r"[A-Za-z0-9]+", text))[:40].strip("-") or "prompt"
        return self.folder / f"{words}-{fingerprint(text, *encoder)}.safetensors"

    def has(self, path: Path) -> bool:
        """Whether a prompt is kept; a damaged file is deleted, so that it is encoded anew."""
        if path.is_file() and not is_conditioning(path):
            logging.warning("AtlasVid: %s is damaged: its prompt is encoded anew", path)
            path.unlink(missing_ok=True)
        return path.is_file()

    def get(self, path: Path, device: Any) -> Any:
        """The conditioning of a file. Raises ValueError where it can't be read."""
        conditioning, _ = load_conditioning(path, device)
        path.touch()  # the least used go first
        return conditioning

    def put(self, path: Path, conditioning: Any, text: str) -> bool:
        """Whether it is kept; a full disk costs the next job a load of the encoder, no more."""
        try:
            save_conditioning(conditioning, path, text)
            self._prune(path)
            return True
        except (NotStorable, OSError, SafetensorError) as error:
            logging.warning("AtlasVid: a prompt's conditioning is not kept: %s", error)
            return False

    def _prune(self, but: Path) -> None:
        """Lets go of the least used while all take more than KEEP_BYTES."""
        stats = [(p, p.stat()) for p in self.folder.glob("*.safetensors") if p != but]
        total = sum(stat.st_size for _, stat in stats)
        for path, stat in sorted(stats, key=lambda item: item[1].st_mtime):
            if total <= KEEP_BYTES:
                return
            path.unlink(missing_ok=True)
            total -= stat.st_size


def _is_link(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)
