"""Prompts encoded once and kept: named by the prompt and by all that the encoder is made of, which
the workflow tells before anything is loaded.
"""

from __future__ import annotations

import hashlib
import logging
import os
import unicodedata
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..atlasvid_core.conditioning_file import (
    NotStorable,
    is_conditioning,
    load_conditioning,
    save_conditioning,
)
from ..atlasvid_core.halves import sweep
from .fingerprint import fingerprint

NAME_LETTERS, NAME_BYTES = 40, 72
KEEP_BYTES = 20 * 2**30
HEAD_BYTES, SAMPLE_BYTES, SAMPLES = 2**20, 4096, 256


class Unnamed(Exception):
    """An encoder that has no lasting name; the text says why."""


def encoder_of(
    prompt: Mapping[str, Any],
    node: str,
    source: str,
    files_of: Callable[[str], Mapping[str, list[Path]]],
    changes: Callable[[str], bool],
) -> list:
    """What feeds the input `source` of a node: kinds, settings, and the content of files.

    prompt: the workflow in API format. files_of: a setting -> the model files that it may
    name, by kind and in the order in which they are looked for.
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
        files = files_of(value) if isinstance(value, str) else {}
        if not files:
            return value
        contents = {kind: [content_of(f) for f in found] for kind, found in files.items()}
        different = {content for found in contents.values() for content in found}
        # All alike, it is all one which is loaded, and whether another pack lists its folder, too.
        return [Path(value).name, different.pop() if len(different) == 1 else contents]

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


def first_words(text: str) -> str:
    """Letters and digits of any script, with the marks on them, as a name that every file system
    takes: composed (NFC), and with the key and the suffix below 143 bytes.
    """
    words = ""
    for char in unicodedata.normalize("NFC", text):
        kind = unicodedata.category(char)[0]
        marks = kind == "M" and words[-1:] not in ("", " ")
        words += char if marks or kind in "LN" else " "
    try:
        os.fsencode(words)
    except UnicodeError:  # a disk whose names are Latin alone
        words = words.encode("ascii", "ignore").decode()
    name = "-".join(words.split())[:NAME_LETTERS]
    return name.encode()[:NAME_BYTES].decode(errors="ignore").strip("-") or "prompt"


class KeptTexts:
    """Conditioning in `folder`, each file named by the prompt's first words and a key."""

    def __init__(self, folder: Path):
        self.folder = folder

    def path(self, text: str, *encoder: Any) -> Path:
        return self.folder / f"{first_words(text)}-{fingerprint(text, *encoder)}.safetensors"

    def has(self, path: Path) -> bool:
        """Whether a prompt is kept, and can be read; a damaged file is deleted, so that it is
        encoded anew."""
        try:
            if not path.is_file():
                return False
        except OSError:  # a disk that does not take such a name
            return False
        try:
            if is_conditioning(path):
                return True
        except OSError:
            logging.warning(
                "AtlasVid: %s is there, but can't be read (is it another user's?): its prompt is "
                "encoded anew", path,
            )  # fmt: skip
            return False
        logging.warning("AtlasVid: %s is damaged: its prompt is encoded anew", path)
        with suppress(OSError):  # another's file in another's folder
            path.unlink()
        return False

    def get(self, path: Path, device: Any) -> Any:
        """The conditioning of a file. Raises ValueError where it can't be read."""
        conditioning, _ = load_conditioning(path, device)
        with suppress(OSError):  # another's file: it may go before its time, no more
            os.utime(path)  # the least used go first
        return conditioning

    def put(self, path: Path, conditioning: Any, text: str) -> bool:
        """Whether it is kept; a full disk costs the next job a load of the encoder, no more."""
        try:
            save_conditioning(conditioning, path, text)
        except (NotStorable, OSError) as error:
            logging.warning("AtlasVid: a prompt's conditioning is not kept: %s", error)
            return False
        with suppress(OSError):  # the folder is being deleted
            sweep(self.folder)
            self._prune(path)
        return True

    def _prune(self, but: Path) -> None:
        """Lets go of the least used while all take more than KEEP_BYTES."""
        stats = []
        for path in set(self.folder.glob("*.safetensors")) - {but}:
            with suppress(OSError):  # another server lets go of it
                stats.append((path, path.stat()))
        total = sum(stat.st_size for _, stat in stats)
        for path, stat in sorted(stats, key=lambda item: item[1].st_mtime):
            if total <= KEEP_BYTES:
                return
            with suppress(OSError):  # another's, or open on Windows
                path.unlink(missing_ok=True)
                total -= stat.st_size


def _is_link(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)
