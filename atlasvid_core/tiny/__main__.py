"""Make AtlasVid-Tiny from nothing: `python -m atlasvid_core.tiny PART`, all of it or a part.

Parts: vae, decoder, base, stage1, guide; all.

Everything lies under one folder and each part goes on from where it was stopped. A part takes what
the parts before it made there, and the files that ship where there is nothing. Seeds are fixed;
`wall_time.json` keeps the seconds of each part, added up over its runs.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import torch

from . import make_base, make_decoder, make_loras, make_vae
from .make_loras import BASE, VAE

PARTS = ("vae", "decoder", "base", "stage1", "guide")
STEPS = {"vae": 7600, "decoder": 4600, "base": 15600, "stage1": 1000, "guide": 9200}  # the card's
CLIPS = 9600  # of the base
VIDEOS = {"stage1": 1344, "guide": 4160}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="dev.py tiny", description=__doc__)
    parser.add_argument("part", choices=(*PARTS, "all"))
    parser.add_argument("--out", type=Path, default=Path("out/tiny"), help="the folder to work in")
    parser.add_argument("--steps", type=int, help="instead of the part's own number")
    parser.add_argument("--clips", type=int, help="clips (of a LoRA: videos) to learn from")
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(2)  # sums depend on it
    for part in PARTS if args.part == "all" else (args.part,):
        began = time.monotonic()
        status = _make(part, args.out, args.steps or STEPS[part], args.clips)
        print(
            f"{part}: {_add_time(args.out, part, time.monotonic() - began):.0f} s in all its runs"
        )
        if status:
            return status
    return 0


def _make(part: str, out: Path, steps: int, clips: int | None) -> int:
    vae, full_vae, base = (out / f"{name}.safetensors" for name in ("vae", "decoder", "base"))
    if part == "vae":
        make_vae.main(["--out", str(vae), "--steps", str(steps)])
        return 0
    vae = vae if vae.exists() else VAE
    if part == "decoder":
        make_decoder.main(["--vae", str(vae), "--out", str(full_vae), "--steps", str(steps)])
        return 0
    vae = full_vae if full_vae.exists() else vae
    if part == "base":
        clip_words = ["--clips", str(clips or CLIPS), "--steps", str(steps)]
        make_base.main(["--vae", str(vae), "--out", str(base), *clip_words])
        return 0
    base = base if base.exists() else BASE
    return make_loras.make(part, out, clips or VIDEOS[part], [f"train.steps={steps}"], base, vae)


def _add_time(out: Path, part: str, seconds: float) -> float:
    """-> the seconds of the part over all of its runs, this one with them."""
    file = out / "wall_time.json"
    times = json.loads(file.read_text()) if file.exists() else {}
    times[part] = round(times.get(part, 0.0) + seconds, 1)
    beside = file.with_suffix(".part")
    beside.write_text(json.dumps(times, indent=2) + "\n")
    beside.replace(file)
    return times[part]


if __name__ == "__main__":
    sys.exit(main())
