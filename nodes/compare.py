"""CompareVideos: two videos in one player on the canvas, frame by frame."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

from comfy_api.latest import InputImpl, io

from ..atlasvid_core.playable import VideoFacts, facts_of, make_playable
from . import host, host_page
from .host_progress import phase
from .sockets import CATEGORY, search
from .temporary_video import TemporaryVideo
from .timing import part, timed

KEY = "atlasvid_compare"  # web/compare.js reads it
MATCHES = ("time", "ends")


class CompareVideos(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AtlasVidCompare",
            display_name="CompareVideos",
            category=CATEGORY,
            **search("compare", "wipe", "before after", "preview video"),
            description="Shows two videos in one player on the canvas: wipe, difference, zoom, "
            "single frames in step. They may differ in size, frame rate and codec.",
            inputs=[
                io.Video.Input("proxy", tooltip="Shown left of the wipe: the proxy's video."),
                io.Video.Input(
                    "detail", tooltip="Shown right of the wipe: the large video. Steps are its "
                    "frames."
                ),
                io.Combo.Input(
                    "match", options=list(MATCHES), default="time",
                    tooltip="Which frames belong together. time: those of the same second; ends: "
                    "first with first and last with last, for videos of other lengths.",
                ),
                io.Int.Input(
                    "max_side", default=4096, min=256, max=16384, step=16,
                    tooltip="Pixels. A video with a longer side, or in a codec that browsers "
                    "don't play, gets a copy for the page; the video itself stays as it is.",
                ),
            ],
            outputs=[],
            is_output_node=True,
        )  # fmt: skip

    @classmethod
    @timed
    def execute(cls, proxy, detail, match, max_side) -> io.NodeOutput:
        shown = {"match": match, "proxy": _shown(proxy, max_side),
                 "detail": _shown(detail, max_side)}  # fmt: skip
        return io.NodeOutput(ui={KEY: [shown]})


def _shown(video: Any, max_side: int) -> dict[str, Any]:
    """Where the page finds a video, and its facts; the file itself where browsers play it."""
    held = _file_of(video)
    path = Path(held)
    facts = facts_of(path)
    place = host_page.view_of(path)
    if place is None or not (facts.plays(max_side) and facts.steps):
        copy = _new_file(".mp4")
        with part("copy"):
            make_playable(path, Path(copy), max_side, phase("Copying for the page", facts.frames))
        place = host_page.view_of(Path(copy))
    return {**(place or {}), **_words(facts)}


def _words(facts: VideoFacts) -> dict[str, Any]:
    return {"width": facts.width, "height": facts.height, "frames": facts.frames,
            "fps": facts.fps, "codec": facts.codec}  # fmt: skip


def _file_of(video: Any) -> str:
    """The file behind a VIDEO; one that lies in memory, or is a part of a file, is written out."""
    from_file = isinstance(video, InputImpl.VideoFromFile)
    source = video.get_stream_source() if from_file else None
    if isinstance(source, str) and _whole(video, facts_of(Path(source))):
        return source
    path = _new_file(".mkv" if from_file else ".mp4")  # mkv takes any codec as it is
    video.save_to(path)
    return path


def _whole(video: Any, facts: VideoFacts) -> bool:
    """Whether the VIDEO is all of its file: later hosts cut without writing."""
    return video.get_duration() > (facts.frames - 1.5) / facts.fps


def _new_file(suffix: str) -> TemporaryVideo:
    name = f"atlasvid_compare_{uuid.uuid4().hex[:12]}{suffix}"
    return TemporaryVideo(host.temporary_folder() / name)
