"""Tensors in a safetensors file whose name always means a whole file.

safetensors from 0.8 on writes a file of its own naming beside the one that it is asked for, for its
user alone, and renames it: what a kill leaves of it no name tells from what is wanted. So it gets a
folder to write in, which is a half file like any other and goes as they do.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from .beside import beside


def save_whole(
    tensors: Mapping[str, Tensor], path: Path, notes: Mapping[str, str] | None = None
) -> None:
    """Write `path`, which stays as it was until then. OSError where the disk fails."""
    part = beside(path)
    part.mkdir()
    try:
        file = part / "tensors"
        save_file(dict(tensors), file, None if notes is None else dict(notes))
        with suppress(OSError):  # a disk where all files have one mode
            file.chmod(part.stat().st_mode & 0o666)  # whoever may enter the folder may read it
        file.replace(path)
    except SafetensorError as error:
        raise OSError(f"{path} could not be written: {error}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
