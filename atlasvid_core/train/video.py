"""A video file as a source of clips: frames by their times, as VideoToProxy takes them.

A place is a time in frames of the file's own average rate: a file of constant rate has its frames
at 0, 1, 2, ..., and which of them a clip takes is a matter of rounding. Shapes: H, W pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..framing import framed
from ..proxy_video import ROUNDING_S
from ..video_source import FileSource, Frame
from .views import View

UNTIMED = (".avi",)  # keeps no times: its frames are as far apart as its rate says
EARLY_S = (1, 10, 100, math.inf)  # before a time, to find the frame that is shown before it
TAIL_S = 10  # at the end of a file, where its last frame is looked for first


class Placed(NamedTuple):
    place: float
    frame: Frame


class Facts(NamedTuple):
    """Average rate, width over height of a pixel, place of the last frame."""

    rate: float
    pixel_aspect: float
    last: float


@dataclass(frozen=True)
class VideoFile:
    """A file, resampled in time to `fps` by the nearest frame."""

    path: Path
    name: str
    caption: str
    fps: float

    @property
    def mark(self) -> str:
        return f"{self.path.stat().st_size} bytes"

    @property
    def length(self) -> int:
        return int(self._facts.last * self.fps / self._facts.rate + 1e-6) + 1

    def frames(self, view: View) -> Iterator[Tensor]:
        """-> bytes [H, W, 3]."""
        with self._way_out():
            rate, pixel_aspect, _ = self._facts
            numbers = range(view.start, view.last + 1, view.stride)
            wanted = [number * rate / self.fps for number in numbers]
            given = 0
            for placed in nearest(self._from(wanted[0]), wanted):
                yield torch.from_numpy(_scaled(placed.frame.pixels(), view, pixel_aspect))
                given += 1
            if given < len(wanted):
                raise ValueError(f"{self.path.name} has no frame at {wanted[given] / rate:.2f} s.")

    @property
    def _file(self) -> FileSource:
        return FileSource(str(self.path))

    @property
    def _timed(self) -> bool:
        return self.path.suffix.lower() not in UNTIMED

    @cached_property
    def _facts(self) -> Facts:
        with self._way_out():
            rate = float(self._file.fps)
            count = 0 if self._timed else sum(1 for _ in self._file.times(_nothing))
            last = _last(self._file, rate) if self._timed else count - 1
            return Facts(rate, float(self._file.pixel_aspect), last)

    def _from(self, place: float) -> Iterator[Placed]:
        """Its frames in order, from one at or before that place on."""
        if not self._timed:
            every = enumerate(self._file.frames(_nothing))
            return (Placed(number, frame) for number, frame in every)
        rate = self._facts.rate
        for early_s in EARLY_S:
            part = replace(self._file, start_s=max(0.0, place / rate - early_s))
            found = _placed(part, rate)
            first = next(found, None)
            if first is not None and (first.place <= place or not part.start_s):
                return chain([first], found)
        return iter(())

    @contextmanager
    def _way_out(self) -> Iterator[None]:
        try:
            yield
        except ValueError as error:
            raise ValueError(
                f"{error} The file is {self.path}: convert it in its place, or take it out of "
                "data.videos, and run the same command again."
            ) from error


def nearest(frames: Iterable[Placed], wanted: Sequence[float]) -> Iterator[Placed]:
    """For each place (ascending) the nearest frame, of two the even one, as `round` has it; ends
    where frames do."""
    following = iter(frames)
    now, then = next(following, None), next(following, None)
    for place in wanted:
        while now and then and _distance(then, place) < _distance(now, place):
            now, then = then, next(following, None)
        if now is None or (then is None and place > now.place + 1):
            return
        yield now


def _distance(placed: Placed, place: float) -> tuple[float, float]:
    return abs(placed.place - place), placed.place % 2


def _placed(source: FileSource, rate: float) -> Iterator[Placed]:
    begins_s = source.begins_s
    for frame in source.frames(_nothing):
        yield Placed(_place(begins_s + frame.at_s, rate), frame)


def _place(at_s: float, rate: float) -> float:
    """A whole one where the time is off it by no more than what a container rounds."""
    place = at_s * rate
    return round(place) if abs(place - round(place)) <= ROUNDING_S * rate else place


def _last(source: FileSource, rate: float) -> float:
    """The place of the last frame, by the times of all packets near the end of the file."""
    for start_s in (max(0.0, source.header_s - TAIL_S), 0.0):
        part = replace(source, start_s=start_s)
        last_s = max(part.times(_nothing), default=None)
        if last_s is not None:
            return _place(part.begins_s + last_s, rate)
    raise ValueError(f"{source.name} holds no frames.")


def _scaled(frame_HW3: np.ndarray, view: View, pixel_aspect: float) -> np.ndarray:
    """A frame cut to the view's aspect around its centre, scaled, boxed: bytes [H, W, 3]."""
    whole = framed(frame_HW3, view.aspect / pixel_aspect, view.whole_px)
    top, left, box_h, box_w = view.box_px
    return np.ascontiguousarray(whole[top : top + box_h, left : left + box_w])


def _nothing() -> None:
    """Called by the reader once a frame."""
