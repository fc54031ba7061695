"""One decode to a file: parked on disk so that it can go on, and errors that say what to do."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor, nn

from ..atlasvid_core.decode import decode_pixels
from ..atlasvid_core.parked import Place, parked_frames, work_bytes
from ..atlasvid_core.scratch import bytes_on_disk
from ..atlasvid_core.tile_plan import smaller
from ..atlasvid_core.tiles import TilePlan
from ..atlasvid_core.walk import frames_px, parts
from . import host, host_vae
from .fingerprint import fingerprint
from .host_identity import vae_fingerprint, versions
from .host_progress import phase
from .kept_steps import prune
from .ladder import spent

KEEP_DAYS = 3  # what a decode left that was stopped and not begun again
REMEDY = (
    "The latent is safe. Close what else uses the device, offload more of the models (--lowvram), "
    "decode on the CPU (--cpu-vae), or make a smaller video."
)


@dataclass(frozen=True)
class Decoding:
    """Integers of `bits` out of `latent_16THW`; `place` is None where nothing is kept."""

    module: nn.Module
    latent_16THW: Tensor
    plan: TilePlan
    bits: int
    place: Place | None
    node: str

    def frames(self) -> Iterator[Tensor]:
        """[1, H, W, 3] in order. Each lack of memory begins anew, but gives no frame twice."""
        given = 0
        tried: list[str] = []
        for plan in ever_smaller(self.module, self.plan):
            if tried:
                logging.warning("AtlasVid: out of memory with %s; trying %s", tried[-1], plan)
                self.finished()  # it is cut in another way
            try:
                for frame in islice(self._frames(plan, given), given, None):
                    given += 1
                    yield frame
                return
            except torch.OutOfMemoryError:
                tried.append(str(plan))
        raise spent(self.node, tried, REMEDY)

    def finished(self) -> None:
        """The scratch goes: the video is whole."""
        if self.place is not None:
            self.place.remove()

    def _frames(self, plan: TilePlan, given: int) -> Iterator[Tensor]:
        t = self.latent_16THW.shape[1]
        progress = phase("Decoding", parts(plan, t) + frames_px(t))
        decoded = 0

        def on_part(done: int, _: int) -> None:
            nonlocal decoded
            decoded = done
            progress.reach(decoded + given)

        folder, work = host.temporary_folder(), (self.module, self.latent_16THW, plan)
        source = (
            decode_pixels(*work, folder, self.bits, on_part)
            if self.place is None
            else parked_frames(*work, self.place, self.bits, on_part)
        )
        with disk_errors(self.node, self.place.folder if self.place else folder):
            for number, frame in enumerate(source, 1):
                given = max(given, number)
                progress.reach(decoded + given)
                yield frame


def ever_smaller(module: nn.Module, plan: TilePlan, encodes: bool = False) -> Iterator[TilePlan]:
    """The plan, and those to take where memory does not suffice for the ones before."""
    value_bytes = next(module.parameters()).dtype.itemsize
    less: TilePlan | None = plan
    while less is not None:
        yield less
        less = smaller(module, less, value_bytes, encodes)


def begin(vae, samples: Tensor, bits: int, tile: int, keep: bool, node: str) -> Decoding:
    """Load the VAE; with `keep`, find what an earlier decode of the same left."""
    module, latent, plan = host_vae.load_vae(vae, samples, node, tile)
    place = None
    if keep:
        job = fingerprint(versions(vae.patcher), vae_fingerprint(vae), samples, bits, tile)
        place = Place(host_vae.decode_folder() / job, job)
        prune(host_vae.decode_folder(), but=job, days=KEEP_DAYS)
        kept = place.plan()  # free memory, and with it the plan, may be another now
        on_cpu = vae.device.type == "cpu"
        if kept is not None and kept.held_bytes(on_cpu) <= host_vae.free_bytes(vae):
            plan = kept
        work = work_bytes(plan, latent[0], module.decoder.conv1.out_channels, bits)
        place = _with_room(place, work, node)
    return Decoding(module, latent[0], plan, bits, place, node)


def _with_room(place: Place, work: int, node: str) -> Place | None:
    """The place with the room for states that `work` bytes leave there; None, and a line in the
    log, where the disk can't take the work."""
    try:
        place.folder.mkdir(parents=True, exist_ok=True)
        there = sum(map(bytes_on_disk, place.folder.iterdir()))
        free = shutil.disk_usage(place.folder).free + there
        if work <= free:
            # a state and the next one beside it; on its way there it is in the host's memory
            room = min((free - work) // 2, host_vae.free_host_bytes() // 4)
            return replace(place, most_state_bytes=room)
        reason = f"it takes {work / 1e9:.1f} GB there, {free / 1e9:.1f} GB are free"
        place.remove()
    except OSError as error:
        reason = str(error)
    logging.warning(
        "AtlasVid: %s keeps nothing in %s to go on from (%s).", node, place.folder.parent, reason
    )
    return None


@contextmanager
def disk_errors(node: str, folder: Path, goes_on: bool = True) -> Iterator[None]:
    """What the system says of a disk, with what it means for the job: whether it, queued again,
    `goes_on` from what was done."""
    try:
        yield
    except OSError as error:
        raise RuntimeError(
            f"{node}: {folder} could not be written to or read ({error}); {_free(folder)} are free "
            "there. No half file was left, and the latent is safe: make room, or give ComfyUI "
            "folders that it may write to (--output-directory, --temp-directory), and queue the "
            f"same job again.{' It goes on from what is done.' if goes_on else ''}"
        ) from error


def _free(folder: Path) -> str:
    try:
        return f"{shutil.disk_usage(folder).free / 1e9:.1f} GB"
    except OSError:
        return "no bytes"
