"""Frames of a video file for the trainer: by number at a constant rate, by time at any other."""

from fractions import Fraction

import cv2
import pytest

from atlasvid_core.proxy_video import ROUNDING_S
from atlasvid_core.train.sources import stacked
from atlasvid_core.train.video import VideoFile
from atlasvid_core.train.views import View

from .source_files import SHADE, number_of, numbers, write_shades

SIZE, TALL = (32, 48), 1.5
MOST = 256 // SHADE  # frames that can be told apart


def video_of(path, fps):
    return VideoFile(path, path.name, "a ball", fps)


def view_of(start, frames, stride=1):
    return View(start, stride, frames, SIZE, (0, 0, *SIZE), TALL)


def counted(path, number):
    """By OpenCV, one frame after the other."""
    video = cv2.VideoCapture(str(path))
    for _ in range(number + 1):
        good, frame = video.read()
        assert good
    return number_of(frame[..., ::-1])


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [
        ("mkv", "ffv1"),
        ("mkv", "libx264"),
        ("mp4", "libx264"),
        ("mov", "libx264"),
        ("avi", "libx264"),
    ],
)
@pytest.mark.parametrize("own_fps", [12, 24, Fraction(24000, 1001), 25, Fraction(30000, 1001), 48])
def test_at_a_constant_rate_frames_are_those_of_rounded_numbers(tmp_path, suffix, codec, own_fps):
    """As before there were times: of two as near the even one, as `round` says."""
    path = write_shades(tmp_path / f"a.{suffix}", range(MOST), own_fps, codec=codec, gop=12)
    for fps in (8.0, 16.0):
        video = video_of(path, fps)
        assert video.length == int((MOST - 1) * fps / float(own_fps) + 1e-6) + 1
        for start, stride in ((0, 1), (3, 2), (max(0, video.length - 6), 1)):
            count = (video.length - 1 - start) // stride + 1
            want = [
                round((start + i * stride) * float(own_fps) / fps) for i in range(min(count, 9))
            ]
            assert numbers(video.frames(view_of(start, len(want), stride))) == want


def test_a_late_frame_is_the_same_as_when_all_before_it_are_read(tmp_path):
    path = write_shades(tmp_path / "a.mp4", range(500), codec="libx264", gop=250)
    video = video_of(path, 24.0)
    assert video.length == 500
    for start in (60, 249, 251, 499):
        (frame,) = video.frames(view_of(start, 1))
        assert number_of(frame) == counted(path, start)


def off_s(times_s, number, at_s):
    """How much further from a time a frame is than the nearest."""
    return abs(times_s[number] - at_s) - min(abs(time - at_s) for time in times_s)


@pytest.mark.parametrize(("suffix", "codec"), [("mkv", "ffv1"), ("mp4", "libx264")])
def test_at_a_rate_that_changes_frames_are_taken_by_their_times(tmp_path, suffix, codec):
    """A phone in the dark: 30 frames a second, then 15."""
    ticks = [*range(25), *range(25, 75, 2)]
    times = [tick / 30 for tick in ticks]
    path = write_shades(tmp_path / f"a.{suffix}", ticks, 30, codec=codec, gop=12)
    video = video_of(path, 16.0)
    assert video.length == int(times[-1] * 16 + 1e-6) + 1
    for start, frames, stride in ((0, video.length, 1), (20, 9, 1), (30, 9, 1), (2, 9, 4)):
        found = numbers(video.frames(view_of(start, frames, stride)))
        assert len(found) == frames
        for i, number in enumerate(found):
            assert off_s(times, number, (start + i * stride) / 16) <= ROUNDING_S


def test_a_clip_shows_what_its_proxy_shows_at_its_place(tmp_path):
    path = write_shades(tmp_path / "a.mkv", [*range(25), *range(25, 75, 2)], 30)
    video = video_of(path, 16.0)
    whole = numbers(video.frames(view_of(0, 33)))
    for offset in (4, 16, 20):
        assert numbers(video.frames(view_of(offset, 13))) == whole[offset : offset + 13]


def test_a_picture_that_stands_still_for_long_is_found_before_the_clip(tmp_path):
    times = [0, 1, 2, 3, 400, 401, 402, 403]  # a second has 10 of these
    path = write_shades(tmp_path / "a.mkv", times, 10)
    assert numbers(video_of(path, 10.0).frames(view_of(150, 3, 100))) == [3, 4, 4]


def test_frames_are_framed_by_the_shape_that_they_are_shown_in(tmp_path):
    """64 x 32 pixels, each half as wide as high: a square, of which nothing is cut."""
    path = write_shades(
        tmp_path / "a.mp4", range(5), codec="libx264", size=(64, 128), pixel_aspect=Fraction(1, 2)
    )
    video = video_of(path, 24.0)
    (square,) = video.frames(View(0, 1, 1, (32, 32), (0, 0, 32, 32), 1.0))
    assert (square[2:6, 1:7] > 200).all()  # the white corner, a quarter of each side, is whole
    (wide,) = video.frames(View(0, 1, 1, (32, 64), (0, 0, 32, 64), 2.0))
    assert (wide[2:6] < 100).all()  # cut above and below, where the corner is


def test_a_turned_file_is_upright(tmp_path):
    path = write_shades(tmp_path / "a.mp4", range(5), codec="libx264", size=(64, 64), turned=True)
    (frame,) = video_of(path, 24.0).frames(View(0, 1, 1, (32, 32), (0, 0, 32, 32), 1.0))
    assert frame[-6:-2, 2:6].float().mean() > 200


def test_what_is_no_video_says_which_file_and_what_to_do(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_text("no video")
    with pytest.raises(ValueError, match=rf"can't be read.*{path}.*or take it out of data.videos"):
        _ = video_of(path, 16.0).length


def test_bytes_become_numbers_from_minus_one_to_one(tmp_path):
    path = write_shades(tmp_path / "a.mkv", range(3))
    video = stacked(video_of(path, 24.0).frames(view_of(0, 3)))
    assert video.shape == (3, 3, *SIZE)
    assert video[:, 0, 2, 2].tolist() == [1, 1, 1]
    assert video[:, 1, -1, -1].tolist() == pytest.approx([SHADE / 127.5 - 1] * 3)
