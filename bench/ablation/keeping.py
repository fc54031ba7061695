"""Cells, one row at one number, kept in small files so that a run that was stopped goes on.

FOLDER/ROW/NNN.safetensors holds the latent and how long it took, NNN.json the judges' figures,
NNN.png and NNN.mp4 are for eyes. All are written beside and renamed. A file names what it was made
with; what was made with other weights, settings or judges is made anew.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from atlasvid_core.video_file import VideoFormat, write_video

from .judging import judged, judges_identity
from .kit import Case, Kit
from .making import latent_of, video_of
from .ways import Row

Cells = dict[str, dict[int, dict[str, float]]]  # row -> number -> figures
STILLS = (0.0, 0.5, 1.0)  # of the clip: the frames of a PNG
MADE_WITH = "made_with"


def complete(
    keep: Keep, rows: Iterable[Row], numbers: Iterable[int], say: Callable[[str], None] = print
) -> Cells:
    """Every row of every number, from its files or made now; all rows of a number at a time."""
    rows, cells = tuple(rows), Cells()
    for number in numbers:
        case = Case(number, keep.kit)
        for row in rows:
            began = time.monotonic()
            figures, fresh = keep.cell(row, case)
            cells.setdefault(row.name, {})[number] = figures
            if fresh:
                say(f"{number:3d}  {row.name:<16} {time.monotonic() - began:5.1f} s")
    return cells


@dataclass(frozen=True)
class Keep:
    folder: Path
    kit: Kit

    def file(self, row: Row, number: int, suffix: str) -> Path:
        return self.folder / row.name / f"{number:03d}{suffix}"

    def cell(self, row: Row, case: Case) -> tuple[dict[str, float], bool]:
        """-> the figures of a cell, and whether anything had to be made for them."""
        made_with = self.made_with(row, case)
        told = self.file(row, case.number, ".json")
        judged_with = f"{made_with}-{judges_identity()}"
        kept = json.loads(told.read_text("utf-8")) if told.is_file() else {}
        if kept.get(MADE_WITH) == judged_with:
            return kept["figures"], False
        latent, taken = self.latent(row, case, made_with)
        video = video_of(row.way, case, latent)
        figures = judged(case, row.way.proxy or "truth", video) | taken
        self.show(row, case.number, video)
        text = json.dumps({MADE_WITH: judged_with, "prompt": case.prompt, "figures": figures})
        _renamed(told, lambda path: path.write_text(text + "\n", "utf-8"))
        return figures, True

    def made_with(self, row: Row, case: Case) -> str:
        loras = row.way.loras + (("stage1",) if row.way.proxy == "stage1" else ())
        parts = (row.way, case.setting, case.number, self.kit.identity(*loras))
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]

    def latent(self, row: Row, case: Case, made_with: str) -> tuple[Tensor | None, dict]:
        """-> the latent (None: there is none) and the seconds that it took when it was made."""
        path = self.file(row, case.number, ".safetensors")
        if path.is_file():
            with safe_open(path, "pt") as file:
                facts = file.metadata()
                if facts[MADE_WITH] == made_with:
                    found = file.get_tensor("latent")
                    return (found if found.numel() else None), json.loads(facts["taken"])
        if row.way.proxy:
            case.proxy_video(row.way.proxy)  # given to stage 2, so not part of its time
        wall, cpu = time.perf_counter(), time.process_time()
        latent = latent_of(row.way, case)
        taken = {
            "seconds": time.perf_counter() - wall,
            "cpu_seconds": time.process_time() - cpu,
        }
        kept = torch.zeros(0) if latent is None else latent.half().contiguous()
        facts = {MADE_WITH: made_with, "taken": json.dumps(taken)}
        _renamed(path, lambda part: save_file({"latent": kept}, part, facts))
        return (None if latent is None else kept), taken

    def show(self, row: Row, number: int, video: Tensor) -> None:
        """The PNG of a few frames side by side, and the video."""
        from matplotlib.image import imsave

        frames = ((video[0].movedim(0, -1) + 1) * 127.5).round().clamp(0, 255).byte()
        last = len(frames) - 1
        strip = torch.cat([frames[round(at * last)] for at in STILLS], dim=1).numpy()
        _renamed(self.file(row, number, ".png"), lambda p: imsave(p, strip, format="png"))
        write_video(self.file(row, number, ".mp4"), [frames], VideoFormat(crf=16))


def _renamed(path: Path, write: Callable[[Path], object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    write(part)
    part.replace(path)
