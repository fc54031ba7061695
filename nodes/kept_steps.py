"""Finished denoising steps of a job, kept on disk until a later one takes their place.

A step of a 4K video takes minutes to hours. Its result is written beside and renamed, so a name
always means a whole file; the same job, queued again, goes on from it. What a job starts from is
kept as the step 0 where it took an encode: made anew it might be cut in other tiles, and differ in
its rounding. In place of the last step comes what the job gives: it stays until a video of it is
saved, and for a while after.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from tqdm.auto import tqdm

from ..atlasvid_core.halves import sweep
from ..atlasvid_core.tensor_file import save_whole
from .fingerprint import fingerprint

KEEP_DAYS, KEEP_DELIVERED_DAYS = 14, 2
KEEP_BYTES = 50 * 2**30
STEP = "step_{:04}.safetensors"
DELIVERED = "a_video_of_this_was_saved"  # an empty file beside the latent
LATENT = "latent_{}"  # an empty file named after the fingerprint of what the job gave
FINISHED = "finished"  # in the notes of what the job gave
NOT_FINITE = "it holds values that are not finite: NaN or infinity"
OVERFLOW = (
    "No later step will be better: cancel the job. fp16 overflow is the usual cause, a MODEL in "
    "bf16 or fp32 the remedy."
)


@dataclass(frozen=True, eq=False)
class Kept:
    """`steps` finished ones, the latent after them (on the CPU), what was noted beside it."""

    steps: int
    latent: Tensor
    notes: Mapping[str, str]

    @property
    def finished(self) -> bool:
        """Whether `latent` is what the job gives."""
        return FINISHED in self.notes


@dataclass
class KeptSteps:
    """The folder `folder/job` of one job. A full disk costs the safety, not the job."""

    folder: Path
    job: str
    _failed: bool = field(default=False, repr=False)

    def __str__(self) -> str:
        return str(self.place)

    @property
    def place(self) -> Path:
        return self.folder / self.job

    def latest(self) -> Kept | None:
        """None: nothing is kept yet, or nothing that can be read."""
        for path in sorted(self.place.glob("step_*.safetensors"), reverse=True):
            try:
                steps = int(path.stem.removeprefix("step_"))
                with safe_open(path, framework="pt") as file:
                    latent = file.get_tensor("latent").clone()  # not the file, which is to go
                    if not _finite(latent):
                        raise ValueError(NOT_FINITE)
                    return Kept(steps, latent, file.metadata() or {})
            except (OSError, ValueError, SafetensorError) as error:
                logging.warning("AtlasVid: %s is of no use (%s): an earlier step is.", path, error)
        return None

    def put(self, steps: int, latent: Tensor, notes: Mapping[str, str] | None = None) -> bool:
        """Keep the latent after `steps` steps, with its notes; the ones before it go. One that is
        not finite is not kept: the next run may do better from an earlier one. -> Whether it is."""
        if not _finite(latent):
            self._say_not_kept(steps, NOT_FINITE, OVERFLOW)
            return False
        path = self.place / STEP.format(steps)
        try:
            self.place.mkdir(parents=True, exist_ok=True)
            save_whole({"latent": latent.detach().cpu().contiguous()}, path, notes)
        except OSError as error:
            self._say_not_kept(steps, error, "Free some space or set keep_steps to false.")
            return False
        with suppress(OSError):  # the folder is being deleted
            self._let_go(path)
        return True

    def _say_not_kept(self, steps: int, why: object, remedy: str) -> None:
        if not self._failed:
            logging.warning(
                "AtlasVid: step %d was not kept in %s (%s); sampling goes on, but can't be "
                "resumed from here. %s", steps, self.place, why, remedy,
            )  # fmt: skip
        self._failed = True

    def _let_go(self, but: Path) -> None:
        """Of other steps, and of half ones that a kill left."""
        sweep(self.place)
        for other in set(self.place.glob("step_*.safetensors")) - {but}:
            with suppress(OSError):  # open on Windows: it goes after the next step
                other.unlink(missing_ok=True)

    def finish(self, steps: int, latent: Tensor) -> None:
        """Keep what the job gives, under its fingerprint, in place of its last step."""
        if self.put(steps, latent, {FINISHED: "yes"}):
            with suppress(OSError):
                (self.place / LATENT.format(fingerprint(latent))).touch()


def _finite(latent: Tensor) -> bool:
    return bool(torch.isfinite(latent).all())


def resumable(
    euler: Callable,
    kept: KeptSteps,
    found: Kept | None,
    note: Callable[[], Mapping[str, str]] = dict,
    show_bar: bool = False,
) -> Callable:
    """A sampler function that goes on after `found`; each step is the host's own `euler`, and is
    kept with what `note()` says of it.
    """

    def function(model, x, sigmas, extra_args=None, callback=None, disable=None):
        steps, first = len(sigmas) - 1, 0
        if found is not None and found.steps:  # after none, `x` is what the job starts from
            first, x = found.steps, found.latent.to(x)
        with tqdm(total=steps, initial=first, disable=not show_bar) as bar:
            for i in range(first, steps):

                def told(state, i=i):
                    if callback is not None:
                        callback({**state, "i": i})

                x = euler(model, x, sigmas[i : i + 2], extra_args, told, disable=True)
                kept.put(i + 1, x, note())
                bar.update(1)
        return x

    return function


def deliver(folder: Path, latent: str) -> None:
    """A video of the latent of this fingerprint was saved: its job may be let go of."""
    for mark in folder.glob(f"*/{LATENT.format(latent)}"):
        with suppress(OSError):  # it is then kept for longer than it need be
            (mark.parent / DELIVERED).touch()


def prune(folder: Path, but: str, now: float | None = None, days: float = KEEP_DAYS) -> None:
    """Let go of old jobs, and of more, the oldest first, while all take over KEEP_BYTES.

    Those whose video was saved are old after KEEP_DELIVERED_DAYS, and go before the others.
    """
    now = time.time() if now is None else now
    jobs = [p for p in folder.glob("*") if p.is_dir() and p.name != but]
    aged = sorted(
        (not (p / DELIVERED).exists(), *found, p) for p in jobs if (found := _age_and_size(p))
    )
    total = sum(size for _, _, size, _ in aged)
    for wanted, touched, size, place in aged:
        most = days if wanted else KEEP_DELIVERED_DAYS
        if now - touched > most * 86400 or total > KEEP_BYTES:
            shutil.rmtree(place, ignore_errors=True)
            total -= size


def _age_and_size(place: Path) -> tuple[float, int] | None:
    """When a job's files were last touched, and their bytes; None where that can't be read."""
    try:
        stats = list(_stats(place))
        touched = [stat.st_mtime for stat in stats] or [place.stat().st_mtime]
    except OSError:
        return None
    return max(touched), sum(stat.st_size for stat in stats)


def _stats(folder: Path) -> Iterator[os.stat_result]:
    """Of the files in it and in its half files, but those that go meanwhile."""
    for path in list(folder.iterdir()):
        with suppress(FileNotFoundError):
            if path.is_dir():
                yield from _stats(path)
            else:
                yield path.stat()
