"""A ComfyUI server killed, as by a power cut, at random moments of each phase of a job; the same
job, queued again, must end in the bytes of one that was never interrupted.

Two jobs are enough for every phase: the demo, smaller, for stage 2; and a long random latent for
the decode, the final write of the video and its save. Each round kills both jobs some times in each
phase, one kill after another, then lets them end. Whatever has a final name by then, and had one
when the server died, is held against what a server that nobody killed saved before.
"""

from __future__ import annotations

import json
import os
import random
import re
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from atlasvid_batch.client import JobFailed
from devtools.server import Server, ServerFailed, make_base

from .kept_rows import rows_kept

ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / "workflows" / "api" / "tiny_demo.json"
STEPS = 12
LONG_LAT = (17, 24, 24)  # a decode of some seconds
PHASES = ("stage 2", "decode", "final write", "save")
ROUNDS, KILLS = 3, 2  # of a bench; kills in each phase of a round
TRIES = 12  # a phase may be over in a blink: a kill that comes too late is tried again, earlier
PATIENCE_S = 180
DELAYS_S = {"stage 2": 0.1, "decode": 0.3, "final write": 0.0, "save": 0.0}  # at most, after it
WENT_ON = ("steps were kept", "parts of the decode were kept")  # said in a log


@dataclass
class Story:
    """What was seen. `rows`: the kills that hit their phase; `wrong`: files that are not whole."""

    seed: int
    rows: list[dict] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)  # half files beside those that ended well
    want: dict[str, bytes] = field(default_factory=dict)  # without a break, as `videos` names them
    first: Any = None  # of the first job, as the caller's `run` gave it

    def saw(self, base: Path, server: Server, when: str) -> None:
        """A job ended, or its server died: of what has a final name all is whole; and where the
        kill before that one left the work was found."""
        for name, files in videos(base).items():
            if any(file != self.want[name] for file in files):
                self.wrong.append(f"{name} after {when}")
        if self.rows and "went_on" not in self.rows[-1]:
            log = server.log.read_text(errors="replace")
            self.rows[-1]["went_on"] = any(words in log for words in WENT_ON)


def demo() -> dict:
    """Its second stage from noise."""
    workflow = json.loads(DEMO.read_text(encoding="utf-8"))
    changes = {
        "AtlasVidPlan": {"width": 128, "height": 128, "frames": 33},
        "AtlasVidSemanticProxyGenerator": {"steps": 2},
        "AtlasVidDetailJointSampler": {"steps": STEPS, "start": "noise"},
    }
    for node in workflow.values():
        node["inputs"].update(changes.get(node["class_type"], {}))
    return workflow


def long_decode() -> dict:
    """FFV1: its files are large, so that writing them takes a while."""
    nodes = {
        "latent": ("LoadLatent", {"latent": "long.latent"}),
        "vae": ("VAELoader", {"vae_name": "atlasvid_tiny_vae.safetensors"}),
        "video": (
            "AtlasVidTiledVAEDecodeToVideo",
            {
                "vae": ["vae", 0], "samples": ["latent", 0], "fps": 16.0, "codec": "ffv1",
                "bits": "8", "crf": 18, "tile": 0, "keep_decoded": True,
            },
        ),
        "save": (
            "SaveVideo",
            {
                "video": ["video", 0], "filename_prefix": "video/long", "format": "auto",
                "codec": "auto",
            },
        ),
    }  # fmt: skip
    return {name: {"class_type": kind, "inputs": inputs} for name, (kind, inputs) in nodes.items()}


JOBS: dict[str, Callable[[], dict]] = {
    "stage 2": demo, "decode": long_decode, "final write": long_decode, "save": long_decode,
}  # fmt: skip


# What a server's folders tell


def steps_done(base: Path) -> int:
    kept = (base / "output" / "atlasvid" / "steps").glob("*/step_*.safetensors")
    return max((int(path.stem.removeprefix("step_")) for path in kept), default=0)


def frames_decoded(base: Path) -> int:
    """Latent frames after which a decode would go on; all of them once the last tile is done."""
    for file in (base / "output" / "atlasvid" / "decode").glob("*/state.safetensors"):
        with suppress(OSError, SafetensorError), safe_open(file, framework="pt") as state:
            notes = state.metadata()
            return LONG_LAT[0] if int(notes["group"]) > 0 else int(notes["frame"])
    return 0


def half_files(base: Path, phase: str) -> Iterator[Path]:
    if phase == "final write":
        yield from (base / "temp").glob("atlasvid_*.part")
    elif phase == "save":
        yield from (base / "output" / "video").glob("long_*.part")


def size_of_half(base: Path, phase: str) -> int:
    sizes = [0]
    for path in half_files(base, phase):
        with suppress(OSError):  # it is renamed at this moment
            sizes.append(path.stat().st_size)
    return max(sizes)


def videos(base: Path) -> dict[str, list[bytes]]:
    """All that has a final name, by the name without its number."""
    found: dict[str, list[bytes]] = {}
    for path in sorted((base / "output" / "video").glob("*.mp4")):
        found.setdefault(re.sub(r"_\d+_\.", ".", path.name), []).append(path.read_bytes())
    return found


# Killing


def kill_at(server: Server, job: dict, moment: Callable[[], bool], delay_s: float) -> None:
    """Queue the job, and kill the server when `moment()` has come true, or the job is over."""

    def ask() -> None:
        with suppress(ServerFailed, JobFailed, OSError):
            server.queue(job)

    asked = threading.Thread(target=ask, daemon=True)
    asked.start()
    end = time.monotonic() + PATIENCE_S
    while not moment() and asked.is_alive():
        if time.monotonic() > end:
            raise TimeoutError(f"the moment did not come in {PATIENCE_S} s. {server.last_lines()}")
        time.sleep(0.0003)
    time.sleep(delay_s)
    server.kill()
    asked.join(30)


def moment_of(base: Path, phase: str, part: float, whole_bytes: int) -> Callable[[], bool]:
    """True once `part` (0 to 1) of a phase is done."""
    if phase == "stage 2":
        # beyond what an earlier kill left: at once, it would not have gone on from that yet
        least = max(steps_done(base) + 1, round(part * (STEPS - 1)))
        return lambda: steps_done(base) >= least
    if phase == "decode":
        return lambda: frames_decoded(base) >= max(1, round(part * (LONG_LAT[0] - 1)))
    return lambda: size_of_half(base, phase) >= max(1, int(part * whole_bytes))


def was_hit(base: Path, phase: str) -> bool:
    """Whether a server that is dead now died in this phase."""
    if phase == "stage 2":
        return 0 < steps_done(base) < STEPS
    if phase == "decode":
        return frames_decoded(base) > 0 and not videos(base).get("long.mp4")
    return any(half_files(base, phase))


# The story


def tell(
    host: Path,
    base: Path,
    kills: dict[str, int],
    seed: int,
    options: tuple = (),
    run: Callable[[Server, dict], Any] = Server.queue,
) -> Story:
    """Both jobs without a break, the first one by `run`; then, all of it forgotten, killed `kills`
    times in each phase, and let end."""
    story, draw = Story(seed), random.Random(seed)
    _prepare(base)
    logs = (base / f"server_{number}.log" for number in count())

    def started() -> Server:
        server = Server(host, Path(sys.executable), base, next(logs), options)
        server.start()
        return server

    server = started()
    try:
        story.first = run(server, demo())
        server.queue(long_decode())
        story.want = {name: files[0] for name, files in videos(base).items()}
        server.forget()
        _clear(base / "output")
        for job in (demo, long_decode):
            for phase, part in _drawn(draw, job, kills):
                for try_ in range(TRIES):
                    now, delay_s = part / 2**try_, draw.uniform(0, DELAYS_S[phase])
                    moment = moment_of(base, phase, now, len(story.want["long.mp4"]))
                    kill_at(server, job(), moment, delay_s)
                    story.saw(base, server, f"a kill in {phase} at {now:.3f}")
                    hit = was_hit(base, phase)
                    if not hit:  # it had ended: from the beginning
                        _clear(base / "output" / "atlasvid")
                    server = started()
                    if hit:
                        story.rows.append({"phase": phase, "part": now, "seed": seed})
                        break
            server.queue(job())
            story.saw(base, server, f"the end of {job.__name__}")
        story.wrong += [f"no {name}" for name in story.want.keys() - videos(base).keys()]
        story.left = [path.name for path in (base / "output" / "video").glob("*.part")]
    finally:
        server.stop()
    return story


def _prepare(base: Path) -> None:
    make_base(base, ROOT)
    latent = torch.randn(1, 16, *LONG_LAT, generator=torch.Generator().manual_seed(0))
    kept = {"latent_tensor": latent, "latent_format_version_0": torch.tensor([])}
    save_file(kept, base / "input" / "long.latent")


def _clear(folder: Path) -> None:
    for path in list(folder.rglob("*")):
        if path.is_file():
            path.unlink()


def _drawn(draw: random.Random, job: Callable, kills: dict[str, int]) -> list[tuple[str, float]]:
    """When to kill a job: phases in their order, and in each of them how far, ever further."""
    return [
        (phase, part)
        for phase in PHASES
        if JOBS[phase] is job
        for part in sorted(draw.uniform(0.03, 0.8) for _ in range(kills[phase]))
    ]


def rows(quick: bool = False) -> list[dict]:
    with rows_kept("kills", quick) as (_, kept):
        return [
            {"round": number, **row}
            for number in range(1 if quick else ROUNDS)
            for row in kept(f"round_{number}", lambda: _round(1 if quick else KILLS))
        ]


def _round(kills: int) -> list[dict]:
    host, seed = Path(os.environ["COMFYUI_PATH"]), random.SystemRandom().randrange(2**31)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        story = tell(host, Path(folder), dict.fromkeys(PHASES, kills), seed)
    print(f"seed {seed}: {len(story.rows)} kills; {story.wrong + story.left}", flush=True)
    wrong = len(story.wrong) + len(story.left)
    return [{**row, "wrong_files": wrong} for row in story.rows]


def figures(rows: list[dict]) -> dict[str, float]:
    counts = [sum(row["phase"] == phase for row in rows) for phase in PHASES]
    return {
        "fewest_kills_in_a_phase": float(min(counts)),
        "wrong_files": float(max((row["wrong_files"] for row in rows), default=0)),
    }
