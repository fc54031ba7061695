"""A video as a source: its frames one after the other, each with its time, and its sound.

Nothing is held but the frame at hand and what decoders keep: memory follows neither the length of
the video nor, but for that, its size. A frame becomes pixels only where these are asked for.

Times are seconds from where the source begins. Shapes: C channels, S samples, T frames, H, W rows
and columns.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

import av
import numpy as np
import torch
from torch import Tensor

from .sound import LAYOUTS, PACKED, Sound, heard, unpacked

THREADS = 4  # of a decoder: each holds a frame of its own
EARLY_S = 10  # some containers (MPEG-TS) go to a key frame after the place that is asked for
OnFrame = Callable[[], None]  # once a frame, or a piece of the file; may raise to cancel


class Frame(NamedTuple):
    """`pixels()` -> bytes [H, W, 3], upright."""

    at_s: float
    pixels: Callable[[], np.ndarray]


class Source(Protocol):
    """`name` for messages; `fps`, the average; `pixel_aspect`, width over height of one pixel."""

    @property
    def name(self) -> str: ...

    @property
    def start_s(self) -> float: ...

    @property
    def fps(self) -> Fraction: ...

    @property
    def pixel_aspect(self) -> Fraction: ...

    def times(self, on_frame: OnFrame) -> Iterator[float]:
        """The time of each frame, in any order, without decoding it."""

    def frames(self, on_frame: OnFrame) -> Iterator[Frame]:
        """In order. ValueError where they can't be read."""

    def sound(self, seconds: float) -> Sound | None:
        """As much of it; None where there is none."""


@dataclass(frozen=True)
class FileSource:
    """A video file from `start_s` on, for `length_s` (0: to its end). Its first video and its first
    sound that can be decoded are taken; a rotation that the file asks for is done."""

    file: str | io.BytesIO
    start_s: float = 0.0
    length_s: float = 0.0

    @property
    def name(self) -> str:
        return Path(self.file).name if isinstance(self.file, str) else "The video"

    @property
    def fps(self) -> Fraction:
        with self._opened() as (_, stream):
            return _rate(stream)

    @property
    def pixel_aspect(self) -> Fraction:
        with self._opened() as (file, stream):
            aspect = Fraction(stream.sample_aspect_ratio or 1) or Fraction(1)
            turned = next((frame.rotation % 180 for frame in file.decode(stream)), 0)
            return 1 / aspect if turned == 90 else aspect

    @property
    def begins_s(self) -> float:
        """Where it begins on the file's own clock of whole ticks, at `start_s` or just before."""
        with self._opened() as (_, stream):
            return float((self._begin(stream) - (stream.start_time or 0)) * stream.time_base)

    @property
    def header_s(self) -> float:
        """How long all of the file is by its header, sound included; 0 where that is silent."""
        with self._opened() as (file, _):
            return (file.duration or 0) / av.time_base

    def times(self, on_frame: OnFrame) -> Iterator[float]:
        with self._opened() as (file, stream):
            begin = self._seek(file, stream)
            for packet in file.demux(stream):
                on_frame()
                if packet.size and not packet.is_discard:
                    at = self._at(packet, begin)
                    if at >= 0 and not self._is_over(at):
                        yield at

    def frames(self, on_frame: OnFrame) -> Iterator[Frame]:
        with self._opened() as (file, stream):
            stream.thread_type, stream.codec_context.thread_count = "AUTO", THREADS
            begin = self._seek(file, stream)
            for frame in file.decode(stream):
                on_frame()
                at = self._at(frame, begin)
                if self._is_over(at):
                    return
                if at >= 0:
                    yield Frame(at, partial(_upright, frame))

    def sound(self, seconds: float) -> Sound | None:
        with self._opened() as (file, stream):
            begin_s = float(self._begin(stream) * stream.time_base)
            early_s = max(0.0, begin_s - EARLY_S)
            track = next((s for s in file.streams.audio if s.codec_context is not None), None)
            if track is None:
                return None
            if self.start_s:
                file.seek(int(early_s * av.time_base))
            layout = LAYOUTS.get(track.codec_context.layout.nb_channels, "stereo")
            parts = _resampled(file.decode(track), layout)
            return _joined(parts, begin_s, seconds, layout)

    def _begin(self, stream) -> int:
        """Where the source begins, in the stream's own units."""
        return int(self.start_s / stream.time_base) + (stream.start_time or 0)

    def _seek(self, file, stream) -> int:
        """To a key frame before the source's beginning; returns that beginning."""
        begin, start = self._begin(stream), stream.start_time or 0
        if not self.start_s:
            return begin
        for early_s in (0, EARLY_S):
            there = max(start, begin - int(early_s / stream.time_base))
            file.seek(there, stream=stream)
            first = next((p for p in file.demux(stream) if p.is_keyframe and p.size), None)
            if first is not None and first.pts <= begin:
                file.seek(there, stream=stream)
                return begin
        file.seek(start, stream=stream)
        return begin

    def _at(self, timed, begin: int) -> float:
        """When a packet or frame is shown."""
        if timed.pts is None:
            raise ValueError(
                f"{self.name} does not say when its frames are shown. Put it into a container: "
                "ffmpeg -i FILE -c copy video.mp4"
            )
        return float((timed.pts - begin) * timed.time_base)

    def _is_over(self, at_s: float) -> bool:
        return self.length_s > 0 and at_s >= self.length_s

    @contextmanager
    def _opened(self) -> Iterator[tuple]:
        """The open file and its video."""
        if not isinstance(self.file, str):
            self.file.seek(0)
        try:
            with av.open(self.file) as file:
                if not file.streams.video:
                    raise ValueError(f"{self.name} holds no video. Choose a file with frames.")
                yield file, file.streams.video[0]
        except av.FFmpegError as error:
            raise ValueError(
                f"{self.name} can't be read as a video ({error}). If other players show it, "
                "convert it, for instance to H.264 in MP4."
            ) from error


@dataclass(frozen=True, eq=False)
class ImageSource:
    """Frames [T, H, W, 3 or more] in 0..1 that lie in memory already, and their sound."""

    images_THWC: Tensor
    fps: Fraction
    track: Sound | None = None
    start_s: float = 0.0
    name: str = "The video"
    pixel_aspect: Fraction = Fraction(1)

    @property
    def _first(self) -> int:
        return int(self.start_s * self.fps + Fraction(1, 2))

    def times(self, on_frame: OnFrame) -> Iterator[float]:
        return (frame.at_s for frame in self.frames(on_frame))

    def frames(self, on_frame: OnFrame) -> Iterator[Frame]:
        for number, image in enumerate(self.images_THWC[self._first :]):
            on_frame()
            yield Frame(float(number / self.fps), partial(_bytes, image))

    def sound(self, seconds: float) -> Sound | None:
        if self.track is None:
            return None
        first, count = (round(s * self.track.rate) for s in (self.start_s, seconds))
        return Sound(self.track.samples_CS[:, first : first + count], self.track.rate)


def _rate(stream) -> Fraction:
    return Fraction(stream.average_rate or stream.guessed_rate or 1)


def _upright(frame: av.VideoFrame) -> np.ndarray:
    """Above 8 bits by way of planes: to packed RGB FFmpeg makes them some 2 levels darker."""
    deep = any(component.bits > 8 for component in frame.format.components)
    pixels = frame.to_ndarray(format="gbrp" if deep else "rgb24")
    return np.rot90(pixels, round(frame.rotation / 90))


def _bytes(image_HWC: Tensor) -> np.ndarray:
    return (255 * image_HWC[..., :3]).round().clamp(0, 255).byte().cpu().numpy()


def _resampled(frames: Iterator[av.AudioFrame], layout: str) -> Iterator[av.AudioFrame]:
    resampler = av.AudioResampler(PACKED, layout)
    for frame in frames:
        yield from resampler.resample(frame)


def _joined(
    parts: Iterator[av.AudioFrame], begin_s: float, seconds: float, layout: str
) -> Sound | None:
    """What is heard for so many seconds: silence where the sound begins later."""
    found: Tensor | None = None
    at = rate = 0
    for part in parts:
        given = unpacked(part)
        if found is None:
            rate = part.sample_rate
            found = torch.zeros(len(given), round(seconds * rate))
            at = round((float(part.time or 0) - begin_s) * rate)
        low, high = max(0, at), min(found.shape[1], at + given.shape[1])
        if low < high:
            found[:, low:high] = given[:, low - at : high - at]
        at += given.shape[1]
        if at >= found.shape[1]:
            break
    return None if found is None or at <= 0 else Sound(heard(found[:, : max(0, at)]), rate)
