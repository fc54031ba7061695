"""Any video as the proxy of a plan: which of its frames, how scaled.

Frame j of the proxy shows frame j * r_t of the large video. What that is of the source, `rate`
says: "video" takes the source's frames as they come, and the large video has its rate; "plan" the
frame nearest in time at the plan's own rate. Cut to the target's shape around the centre and
scaled, they are what the trainer makes proxies of. Source: DESIGN sections 3 and 4.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from .framing import framed
from .plan import VideoPlan
from .units import VAE_STRIDE
from .video_file import LEAST_FPS, MOST_FPS
from .video_source import Frame, OnFrame, Source

RATES = ("video", "plan")
ROUNDING_S = 1e-3  # Matroska keeps times in milliseconds


@dataclass(frozen=True)
class Taken:
    """What a plan takes of a source: frames nearest to `times_s` (ascending).

    `fps` is the large video's. The last frame stands for `hold_s` beyond its own time. `counted`:
    frames are as far apart as `fps` says, whatever their own times are.
    """

    times_s: tuple[float, ...]
    fps: float
    hold_s: float
    counted: bool

    def suffices(self, frames: int, last_s: float) -> bool:
        """Whether a source of so many frames, the last of them at that time, is long enough."""
        last_s = (frames - 1) / self.fps if self.counted else last_s
        return frames > 0 and last_s + self.hold_s >= self.times_s[-1]


def taken(plan: VideoPlan, source: Source, rate: str) -> Taken:
    """ValueError for a rate that is not known, or that no file of the large video can have."""
    if rate not in RATES:
        raise ValueError(f"rate {rate!r} is unknown: choose one of {', '.join(RATES)}.")
    counted = rate == "video"
    fps = float(source.fps) if counted else plan.fps
    if counted and not LEAST_FPS <= fps <= MOST_FPS:
        raise ValueError(
            f"{source.name} says that it has {fps:g} frames a second; a file of the large video "
            f'takes {LEAST_FPS} to {MOST_FPS}. Set rate to "plan": frames are then taken by their '
            "times."
        )
    last = plan.frames_px - 1
    numbers = [min(int(j * plan.r_t + 0.5), last) for j in range(plan.proxy_frames_px)]
    hold = 0.5 / fps if counted else 1 / float(source.fps) + ROUNDING_S
    return Taken(tuple(n / fps for n in numbers), fps, hold, counted)


def check_length(source: Source, plan: VideoPlan, wanted: Taken, on_frame: OnFrame) -> None:
    """ValueError where the source is too short, before anything of it is decoded."""
    count, last = 0, 0.0
    for at in source.times(on_frame):
        count, last = count + 1, max(last, at)
        if wanted.suffices(count, last):
            return
    raise _short(source, plan, wanted, count, last)


def proxy_frames(
    source: Source, plan: VideoPlan, wanted: Taken, on_frame: OnFrame
) -> Iterator[Tensor]:
    """The proxy's frames, bytes [H, W, 3]. ValueError where the source ends before the last."""
    size = (plan.proxy_height_px, plan.proxy_width_px)
    aspect = plan.width_px / plan.height_px / float(source.pixel_aspect)
    count, last, given = 0, 0.0, 0

    def frames() -> Iterator[Frame]:
        nonlocal count, last
        for frame in source.frames(on_frame):
            number, count, last = count, count + 1, frame.at_s
            yield frame._replace(at_s=number / wanted.fps) if wanted.counted else frame

    for frame in nearest(frames(), wanted):
        given += 1
        yield torch.from_numpy(framed(frame.pixels(), aspect, size))
    if given < len(wanted.times_s):
        raise _short(source, plan, wanted, count, last)


def nearest(frames: Iterable[Frame], wanted: Taken) -> Iterator[Frame]:
    """For each time the frame nearest to it, of two the earlier; ends where frames do."""
    following = iter(frames)
    now, then = next(following, None), next(following, None)
    for time in wanted.times_s:
        while now and then and abs(then.at_s - time) + ROUNDING_S < abs(now.at_s - time):
            now, then = then, next(following, None)
        if now is None or (then is None and now.at_s + wanted.hold_s < time):
            return
        yield now


def _short(source: Source, plan: VideoPlan, wanted: Taken, count: int, last_s: float) -> ValueError:
    there = f"{source.name}{f', from second {source.start_s:g} on,' if source.start_s else ''}"
    if not count:
        return ValueError(f"{there} holds no frames. Choose another video, or an earlier start.")
    if wanted.counted:
        has, takes = f"has {count} frames", f"{plan.frames_px}"
        fit = float(count - 1)
    else:
        end, span = last_s + wanted.hold_s, (plan.frames_px - 1) / plan.fps
        has, fit = f"lasts {end:.2f} s", end * plan.fps
        takes = f"{span:.2f} s ({plan.frames_px} frames at {plan.fps:g} a second)"
    fitting = 1 + VAE_STRIDE.t * int(fit / VAE_STRIDE.t)
    return ValueError(
        f"{there} {has}; the plan takes {takes}. Set frames of VideoPlan to {fitting}, or choose a "
        "longer video."
    )
