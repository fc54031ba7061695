"""Figures of one video: what the table means over cells. Truths count as 0 and 1."""

from __future__ import annotations

import hashlib
from pathlib import Path

from torch import Tensor

from atlasvid_core import metrics
from atlasvid_core.metrics import borders, detail, hero, pixels
from atlasvid_core.units import PX_MULTIPLE, VAE_STRIDE

from .kit import Case

MEASURES = {
    "one_hero": "exactly one hero, of a hero's size",
    "hero_as_told": "one hero of the prompt's shape, colour and direction",
    "psnr_to_proxy_db": "PSNR of the video, scaled down, to its proxy",
    "borders": "steps across cube borders over those elsewhere, mean of h and w",
    "borders_t": "the same in time",
    "fine_energy": "energy above the proxy's Nyquist frequency over the true render's",
    "structure_error": "error of that band against the true render: 0 the truth, 1 nothing there",
    "edge_error": "error of local edge strength and direction against the true render",
    "flicker": "second difference in time where nothing should move, in levels of 255",
    "seconds": "stage 2 on the wall clock, decode not counted",
    "cpu_seconds": "stage 2 in processor time",
}


def judged(case: Case, source: str, video: Tensor) -> dict[str, float]:
    """The figures of a video [1, 3, T, H, W]; `source`: the proxy it is held to.

    A proxy by stage 1 shows another scene than the truth (the prompt leaves hills and path open),
    so figures against the truth then say little.
    """
    setting, truth = case.setting, case.truth
    told = hero.judge(case.scene, video)
    as_told = told["object"] & told["colour"] & told["direction"]
    sides = [side * PX_MULTIPLE for side in setting.cube_tok[1:]]
    shown = [borders.border_visibility(video, side, axis) for side, axis in zip(sides, "hw")]
    energy = detail.fine_energy(video, setting.ratio) / detail.fine_energy(truth, setting.ratio)
    figures = {
        "one_hero": told["one_hero"],
        "hero_as_told": as_told,
        "psnr_to_proxy_db": pixels.psnr_to_proxy_db(video, case.proxy_video(source)),
        "borders": sum(shown) / len(shown),
        "borders_t": borders.border_visibility(video, VAE_STRIDE.t * setting.cube_tok.t, "t", 4),
        "fine_energy": energy,
        "structure_error": detail.structure_error(video, truth, setting.ratio),
        "edge_error": detail.edge_error(video, truth),
        "flicker": 255 * pixels.flicker(video),
    }
    return {name: float(value) for name, value in figures.items()}


def judges_identity() -> str:
    """Changes with the judges' code, so that kept figures are not those of other judges."""
    files = [Path(__file__), *sorted(Path(next(iter(metrics.__path__))).glob("*.py"))]
    return hashlib.sha256(b"".join(f.read_bytes() for f in files)).hexdigest()[:16]
