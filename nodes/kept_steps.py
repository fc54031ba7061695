"""Finished denoising steps of a job, kept on disk until a later one takes their place.

A step of a 4K video takes minutes to hours. Its result is written beside and renamed, so a name
always means a whole file; the same job, queued again, goes on from it.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm.auto import tqdm

KEEP_DAYS = 14
KEEP_BYTES = 50 * 2**30
STEP = "step_{:04}.safetensors"


@dataclass
class KeptSteps:
    """The folder `folder/job` of one job. A full disk costs the safety, not the job."""

    folder: Path
    job: str
    _failed: bool = field(default=False, repr=False)

    @property
    def place(self) -> Path:
        return self.folder / self.job

    def latest(self) -> tuple[int, Tensor] | None:
        """-> number of finished steps and the latent after them, on the CPU; None: none yet."""
        for path in sorted(self.place.glob("step_*.safetensors"), reverse=True):
            try:
                return int(path.stem.removeprefix("step_")), load_file(path)["latent"]
            except (OSError, ValueError, KeyError, SafetensorError) as error:
                logging.warning("AtlasVid: %s is of no use (%s): an earlier step is.", path, error)
        return None

    def put(self, steps: int, latent: Tensor) -> None:
        """Keep the latent after `steps` steps; the ones before it go."""
        path = self.place / STEP.format(steps)
        part = path.with_suffix(".part")
        try:
            self.place.mkdir(parents=True, exist_ok=True)
            save_file({"latent": latent.detach().cpu().contiguous()}, part)
            part.replace(path)
            for other in self.place.glob("step_*"):
                if other != path:
                    other.unlink(missing_ok=True)
        except (OSError, SafetensorError) as error:
            if not self._failed:
                logging.warning(
                    "AtlasVid: step %d was not kept in %s (%s); sampling goes on, but can't be "
                    "resumed from here. Free some space or set keep_steps to false.",
                    steps, self.place, error,
                )  # fmt: skip
            self._failed = True


def resumable(euler: Callable, kept: KeptSteps, show_bar: bool) -> Callable:
    """A sampler function that goes on where `kept` ends; each step is the host's own `euler`."""

    def function(model, x, sigmas, extra_args=None, callback=None, disable=None):
        found, steps = kept.latest(), len(sigmas) - 1
        first, start = (0, x) if found is None or found[1].shape != x.shape else found
        x = start.to(x)
        if first:
            logging.info("AtlasVid: %d of %d steps were kept; going on after them", first, steps)
        with tqdm(total=steps, initial=first, disable=not show_bar) as bar:
            for i in range(first, steps):

                def told(state, i=i):
                    if callback is not None:
                        callback({**state, "i": i})

                x = euler(model, x, sigmas[i : i + 2], extra_args, told, disable=True)
                kept.put(i + 1, x)
                bar.update(1)
        return x

    return function


def prune(folder: Path, but: str, now: float | None = None) -> None:
    """Let go of jobs older than KEEP_DAYS, and of the oldest while all take over KEEP_BYTES."""
    now = time.time() if now is None else now
    jobs = [p for p in folder.glob("*") if p.is_dir() and p.name != but] if folder.is_dir() else []
    aged = sorted(((_touched(p), _bytes(p), p) for p in jobs), key=lambda job: job[0])
    total = sum(size for _, size, _ in aged)
    for touched, size, place in aged:
        if now - touched > KEEP_DAYS * 86400 or total > KEEP_BYTES:
            shutil.rmtree(place, ignore_errors=True)
            total -= size


def _touched(place: Path) -> float:
    return max((p.stat().st_mtime for p in place.iterdir()), default=place.stat().st_mtime)


def _bytes(place: Path) -> int:
    return sum(p.stat().st_size for p in place.iterdir() if p.is_file())
