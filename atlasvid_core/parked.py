"""A decode that goes on after its process was killed: pixels and a place to go on from, on disk.

The folder of a job holds `pixels.raw` (finished pixels), `features.raw` (of plans that go tile by
tile) and `state.safetensors`: where the decode was, what its causal convolutions remember there,
the plan and the checksums of what was written by then. The state is written beside and renamed, as
often as keeps it to a twentieth of the time; what came after it is done again, to the same bits.
A full disk ends the decode as a kill would: with room made, it goes on.
Where what is remembered takes more than a place allows, only ends of groups are kept, which need
none of it: it would fill the disk that the pixels need, and on its way there the host's memory. A
folder of another job, or one that does not hold what its state tells of, is made anew.

Frames leave only when all are decoded. The decoder's memory and that of a video encoder are then
never needed at once, and an encoder, which can't go on, starts from frame 0 at the cost of reading.
"""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from .causal import Past
from .decode_files import Features, Pixels
from .halves import sweep
from .heap import give_back
from .tensor_file import save_whole
from .tiles import TilePlan
from .walk import BEGIN, OnPart, Stop, frames_px, parts, parts_before, walk

STATE, PIXELS, FEATURES = "state.safetensors", "pixels.raw", "features.raw"
STATE_BYTES = 2**30  # of what is remembered, at most, where nobody looks at the room there is
EVERY_S, SHARE = 1.0, 20  # a state this often at most, and one part in SHARE of the time at most
USELESS = (OSError, ValueError, KeyError, TypeError, SafetensorError)


@dataclass(frozen=True)
class Place:
    """The folder of one job. `job` names all that determines its pixels but the plan and depth.

    `most_state_bytes`: of a decode's memory, kept there; twice that while the next one is written.
    """

    folder: Path
    job: str
    every_s: float = EVERY_S
    most_state_bytes: int = STATE_BYTES

    def plan(self) -> TilePlan | None:
        """The one by which the work that lies here was cut; None: there is none."""
        try:
            return _plan(self.notes()["plan"])
        except USELESS:
            return None

    def notes(self) -> dict[str, str]:
        with safe_open(self.folder / STATE, framework="pt") as file:
            return file.metadata() or {}

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def state_bytes(plan: TilePlan) -> int:
    """Of what a state holds of a decode's memory, at most; the next one is written beside it."""
    return min(plan.peak_bytes, STATE_BYTES)


def work_bytes(plan: TilePlan, latent_16THW: Tensor, channels: int, bits: int) -> int:
    """Pixels and, tile by tile, the middle block's output of `channels`."""
    t, h, w = latent_16THW.shape[1:]
    pixels = frames_px(t) * 64 * h * w * 3 * (1 if bits == 8 else 2)
    features = t * h * w * channels * latent_16THW.element_size()
    return pixels + (features if plan.order == "tiles" else 0)


def parked_frames(
    vae: nn.Module,
    latent_16THW: Tensor,
    plan: TilePlan,
    place: Place,
    bits: int,
    on_part: OnPart | None = None,
) -> Iterator[Tensor]:
    """`decode_pixels`, bit for bit, going on from what lies at `place` and leaving it all there.

    OSError where the disk fails; ValueError where it has too little room.
    """
    work = _Work(vae, latent_16THW, plan, place, bits)
    try:
        start, t = work.open(), latent_16THW.shape[1]
        done = parts_before(plan, t, start)
        if done:
            total = parts(plan, t)
            logging.info("AtlasVid: %d of %d parts of the decode were kept", done, total)
            if on_part is not None:
                on_part(done, total)
        way = walk(vae, latent_16THW, plan, work.features, on_part, start, work.reached)
        for block in way:
            work.pixels.put(*block)
        give_back()
        yield from work.pixels.frames()
    finally:
        work.close()


class _Work:
    """The files of one run of a job."""

    features: Features | None = None
    pixels: Pixels

    def __init__(
        self, vae: nn.Module, latent_16THW: Tensor, plan: TilePlan, place: Place, bits: int
    ) -> None:
        self._vae, self._latent, self._plan, self._place = vae, latent_16THW, plan, place
        self._bits, self._failed = bits, False
        self._modules = dict(vae.named_modules())
        self._due = time.monotonic() + place.every_s

    def open(self) -> Stop:
        """Where to go on; what comes before that lies in the files."""
        folder = self._place.folder
        sweep(folder)
        if folder.is_dir() and any(folder.iterdir()):
            try:
                return self._known()
            except USELESS as error:
                logging.warning(
                    "AtlasVid: what an earlier decode left in %s is of no use (%s); it is made "
                    "anew.", folder, error,
                )  # fmt: skip
                self.close()
                self._place.remove()
        folder.mkdir(parents=True, exist_ok=True)
        self._open_files()
        self._keep(BEGIN)  # whose folder this is
        return BEGIN

    def close(self) -> None:
        for file in self._files().values():
            file.__exit__()

    def reached(self, stop: Stop) -> None:
        """Keep this stop, if it is time."""
        began = time.monotonic()
        if stop.frame and (began < self._due or _bytes(stop.pasts) > self._place.most_state_bytes):
            return
        self._keep(stop)
        now = time.monotonic()
        self._due = now + max(self._place.every_s, SHARE * (now - began))

    def _keep(self, stop: Stop) -> None:
        """A failure costs the safety, not the job."""
        try:
            self._save(stop)
        except OSError as error:
            if not self._failed:
                logging.warning(
                    "AtlasVid: the decode can't be resumed from here, it goes on: %s", error
                )
            self._failed = True

    def _open_files(self) -> None:
        folder = self._place.folder
        frames = frames_px(self._latent.shape[1])
        self.pixels = Pixels(self._plan, frames, self._bits, folder, PIXELS)
        if self._plan.order == "tiles":
            self.features = Features(self._vae, self._plan, self._latent, folder, FEATURES)

    def _files(self) -> dict[str, Pixels | Features]:
        found = {PIXELS: getattr(self, "pixels", None), FEATURES: self.features}
        return {name: file for name, file in found.items() if file is not None}

    def _notes(self, stop: Stop) -> dict[str, str]:
        return {
            "job": self._place.job, "bits": str(self._bits), "plan": json.dumps(asdict(self._plan)),
            "group": str(stop.group), "frame": str(stop.frame), "pasts": str(len(stop.pasts)),
        }  # fmt: skip

    def _save(self, stop: Stop) -> None:
        tensors = {f"sums of {name}": file.sums() for name, file in self._files().items()}
        names = {module: name for name, module in self._modules.items()}
        for number, past in enumerate(stop.pasts):
            for module, value in past.items():
                order, flat = _as_it_lies(value)
                tensors[f"{number} {names[module]} {order}"] = flat.cpu()
        save_whole(tensors, self._place.folder / STATE, self._notes(stop))

    def _known(self) -> Stop:
        """ValueError and the like where what lies there is not this job's, or not whole."""
        notes = self._place.notes()
        stop = Stop(int(notes["group"]), int(notes["frame"]))
        pasts: list[Past] = [{} for _ in range(int(notes["pasts"]))]
        if notes != self._notes(stop._replace(pasts=pasts)):
            raise ValueError("it is another job's")
        tensors = load_file(self._place.folder / STATE)
        for name in (PIXELS, FEATURES):
            if f"sums of {name}" in tensors and not (self._place.folder / name).exists():
                raise ValueError(f"{name} is missing")
        self._open_files()
        for name, file in self._files().items():
            file.check(tensors.pop(f"sums of {name}"))
        for key, value in tensors.items():
            number, module, order = key.split(" ")
            there = value.clone().to(self._latent.device)  # let go of the file, which is replaced
            pasts[int(number)][self._modules[module]] = _as_it_lay(order, there)
        return stop._replace(pasts=pasts)


def _plan(text: str) -> TilePlan:
    found = json.loads(text)
    sides = {name: tuple(found[name]) for name in ("frame_lat", "tile_lat")}
    return TilePlan(**{**found, **sides})


def _bytes(pasts: Sequence[Past]) -> int:
    return sum(value.nbytes for past in pasts for value in past.values())


def _as_it_lies(value: Tensor) -> tuple[str, Tensor]:
    """A tensor's axes from the outermost in memory to the innermost, and its values so ordered:
    a convolution's bits may depend on where channels lie."""
    order = sorted(range(value.dim()), key=lambda axis: -value.stride(axis))
    return "".join(map(str, order)), value.permute(order).contiguous()


def _as_it_lay(order: str, flat: Tensor) -> Tensor:
    return flat.permute([order.index(str(axis)) for axis in range(len(order))])
