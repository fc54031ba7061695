"""Copies of videos that every browser plays: H.264 in MP4, 8 bits, 4:2:0, no side over a limit.

A browser shows nothing of ProRes, FFV1 or 10-bit H.264, and few decode sides over 4096 pixels. To
show one frame it decodes all from the last key frame on: in a 4K file with a key frame in 250 a
step takes seconds.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation

from .video_file import BT709, LIMITED

PLAYED = {"h264"}
PIXELS = {"yuv420p", "yuvj420p"}
OPTIONS = {"crf": "12", "preset": "veryfast"}
KEY_S = 0.5  # seconds between key frames of a copy
STEP_PX = 64 * 1920 * 1080  # pixels that a step may decode, at most


@dataclass(frozen=True)
class VideoFacts:
    """What a file holds, read without decoding more than a frame. Sides in pixels, as shown: a
    rotation that the file asks for is done, and pixels are square."""

    codec: str
    pixels: str
    mp4: bool
    width: int
    height: int
    frames: int
    fps: float
    key_every: int  # most frames from one key frame to the next

    def plays(self, max_side: int) -> bool:
        """Whether every browser plays the file as it is, and no side is over `max_side`."""
        known = self.codec in PLAYED and self.pixels in PIXELS and self.mp4
        return known and max(self.width, self.height) <= max_side

    @property
    def steps(self) -> bool:
        """Whether a browser comes to any frame at once."""
        return self.key_every * self.width * self.height <= STEP_PX


def facts_of(path: Path) -> VideoFacts:
    """Reads all of the file. Raises ValueError where it holds no video that can be read."""
    try:
        with av.open(str(path)) as file:
            if not file.streams.video:
                raise ValueError(f"{path.name} holds no video.")
            stream = file.streams.video[0]
            keys = [packet.is_keyframe for packet in file.demux(stream) if packet.size]
            width, height = _sides(stream, _quarter_turns(path))
            return VideoFacts(
                stream.codec_context.name, str(stream.pix_fmt), "mp4" in file.format.name,
                width, height, len(keys), float(stream.average_rate or 1), _most_between(keys),
            )  # fmt: skip
    except av.FFmpegError as error:
        raise ValueError(f"{path.name} can't be read as a video ({error}).") from error


def _most_between(keys: list[bool]) -> int:
    places = [i for i, key in enumerate(keys) if key]
    return max((b - a for a, b in pairwise([*places, len(keys)])), default=len(keys))


def _quarter_turns(path: Path) -> int:
    """How often a frame is turned against the clock to be upright, 0 to 3."""
    with av.open(str(path)) as file:
        first = next(file.decode(file.streams.video[0]), None)
        return 0 if first is None else round(first.rotation / 90) % 4


def _sides(stream, turns: int) -> tuple[int, int]:
    """Width and height as shown, in square pixels: no line is lost, the shorter way grows."""
    aspect = stream.sample_aspect_ratio or 1
    width, height = round(stream.width * max(1, aspect)), round(stream.height / min(1, aspect))
    return (height, width) if turns % 2 else (width, height)


def fitted(width: int, height: int, max_side: int) -> tuple[int, int]:
    """The largest even size of this shape with no side over `max_side`; never enlarged."""
    scale = min(1.0, max_side / max(width, height))
    return max(2, int(width * scale) // 2 * 2), max(2, int(height * scale) // 2 * 2)


def make_playable(
    source: Path, target: Path, max_side: int, on_frame: Callable[..., None] = lambda: None
) -> None:
    """A copy that every browser plays, one frame at a time; `on_frame()` after each may raise.

    Written beside `target` and renamed. Frames are upright, of square pixels, and spaced evenly
    at the source's average rate.
    """
    turns = _quarter_turns(source)
    beside = target.with_name(target.name + ".part")
    try:
        with av.open(str(source)) as given, av.open(str(beside), "w", format="mp4") as file:
            inside = given.streams.video[0]
            inside.thread_type = "AUTO"
            rate = Fraction(inside.average_rate or 1).limit_denominator(1001)
            stream = file.add_stream("libx264", rate=rate, options=OPTIONS)
            stream.width, stream.height = fitted(*_sides(inside, turns), max_side)
            lying = _sides(stream, turns)
            stream.pix_fmt = "yuv420p"
            stream.codec_context.gop_size = max(1, round(KEY_S * rate))
            _tag(stream.codec_context)
            for number, frame in enumerate(given.decode(inside)):
                shown = frame.reformat(
                    *lying, "yuv420p", dst_colorspace=Colorspace.ITU709,
                    dst_color_range=ColorRange.MPEG, interpolation=Interpolation.AREA,
                )  # fmt: skip
                shown = _turned(shown, turns) if turns else shown
                shown.pts, shown.time_base = number, 1 / rate
                _tag(shown)
                file.mux(stream.encode(shown))
                on_frame()
            file.mux(stream.encode())
        os.replace(beside, target)
    finally:
        beside.unlink(missing_ok=True)


def _turned(frame: av.VideoFrame, turns: int) -> av.VideoFrame:
    """A 4:2:0 frame with even sides, turned against the clock plane by plane."""
    height, width = frame.height, frame.width
    values, planes = frame.to_ndarray().reshape(-1), []
    for down in (1, 2, 2):
        rows, columns = height // down, width // down
        plane, values = np.split(values, [rows * columns])
        planes.append(np.rot90(plane.reshape(rows, columns), turns).reshape(-1))
    upright = width if turns % 2 == 0 else height
    return av.VideoFrame.from_ndarray(np.concatenate(planes).reshape(-1, upright), "yuv420p")


def _tag(target) -> None:
    target.colorspace = target.color_primaries = target.color_trc = BT709
    target.color_range = LIMITED
