"""The guide of a job: made when first asked for, kept as the user wishes, gone after sampling.

Keys and values of a large proxy take gigabytes, and the host keeps what a node returns for as long
as its workflow stays the same. So the GUIDE socket carries what it takes to make a guide; the
tensors live from ScaledRoPEAligner to the end of sampling, and are made anew for another job.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import torch
from torch import Tensor

from ..atlasvid_core.guide import Guide
from ..atlasvid_core.units import Grid
from .timing import part

GIB = 2**30
DTYPES = {
    "auto": None, "bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32
}  # fmt: skip


class KeptGuide:
    """A guide or the means to make it again; its sizes are known either way.

    `make(chunk_tok)` gives it with how many tokens it worked on at once: so many or, where memory
    ran out, fewer. Keys and values differ by that in their rounding.
    """

    def __init__(
        self, make: Callable[[int], tuple[Guide, int]], chunk_tok: int, where: str, identity: str
    ) -> None:
        self._make = make
        self._guide: Guide | None
        self._guide, self.chunk_tok = make(chunk_tok)
        self._first_tok = self.chunk_tok
        self.target_tok: Grid = self._guide.target_tok
        self.proxy_tok: Grid = self._guide.proxy_tok
        self.layers: int = self._guide.layers
        self.heads: int = self._guide.heads
        self.bytes: int = self._guide.bytes
        self.dtype: torch.dtype = self._guide.keys[0].dtype
        self.where = where
        self.identity = identity  # of what it is made from; see fingerprint.py

    @property
    def held(self) -> bool:
        return self._guide is not None

    def get(self) -> Guide:
        """The guide; made anew, which takes as long as a step of stage 1, if it was let go."""
        if self._guide is None:
            with part("guide"):
                self._guide, self.chunk_tok = self._make(self.chunk_tok)
        return self._guide

    def cut_as(self, chunk_tok: int) -> None:
        """Until it is released, the guide is the one that was read in such chunks."""
        if chunk_tok != self.chunk_tok:
            self._guide, self.chunk_tok = None, chunk_tok

    def release(self) -> None:
        """Let go of the tensors: memory, or the files they are mapped from, becomes free."""
        self._guide, self.chunk_tok = None, self._first_tok

    def summary(self) -> str:
        t, h, w = self.proxy_tok
        dtype = str(self.dtype).removeprefix("torch.")
        return (
            f"Guide: {self.layers} layers of {self.proxy_tok.count:,} proxy tokens ({t} x {h} x "
            f"{w}) in {dtype}: {self.bytes / GIB:.2f} GB {self.where}, until sampling ends"
        )


def on_disk(folder: Path, dtype: torch.dtype | None) -> Callable[[Tensor], Tensor]:
    """What becomes of each K and V: a memory-mapped file of its own in `folder`, as `to_host`.

    The system reads what a slab needs and may drop it again. A file has no name any more where the
    system lets an open file be removed; elsewhere it goes with the host's temporary files.
    """

    def keep(part: Tensor) -> Tensor:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"atlasvid_guide_{uuid4().hex}"
        kind = dtype or part.dtype
        need, free = part.numel() * kind.itemsize, shutil.disk_usage(folder).free
        if need > free:  # writing to a mapped file on a full disk would end the process
            raise RuntimeError(
                f"ScaledRoPEAligner keeps {need / GIB:.2f} GB of the guide for each of a layer's "
                f"keys and values in {folder}, where {free / GIB:.2f} GB are free. Free some space "
                "there, or set `store` to memory."
            )
        try:
            mapped = torch.from_file(str(path), shared=True, size=part.numel(), dtype=kind)
            mapped = mapped.view(part.shape).copy_(part)
        except (OSError, RuntimeError) as error:
            raise RuntimeError(
                f"ScaledRoPEAligner could not keep {need / GIB:.2f} GB of "
                f"the guide in {folder}: {error}. Free some space there, or set `store` to memory."
            ) from error
        finally:
            with suppress(OSError):
                path.unlink(missing_ok=True)
        return mapped

    return keep
