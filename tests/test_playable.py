"""What browsers can't play gets a copy that they can, with the same colours and frames."""

from fractions import Fraction

import av
import numpy as np
import pytest
import torch

from atlasvid_core.playable import VideoFacts, facts_of, fitted, make_playable
from atlasvid_core.video_file import VideoFormat, write_video
from atlasvid_core.video_source import FileSource

from .source_files import write_shades

FRAMES, HEIGHT, WIDTH = 7, 48, 80
FORMS = [("h264", 10), ("h265", 8), ("prores", 10), ("ffv1", 8), ("ffv1", 10)]


def clip(bits: int) -> torch.Tensor:
    """Four patches of colour that grow lighter from frame to frame, [T, H, W, 3]."""
    colours = torch.tensor([[200, 30, 40], [20, 160, 60], [40, 60, 220], [180, 180, 180]])
    picture = colours.view(2, 2, 3).repeat_interleave(HEIGHT // 2, 0)
    picture = picture.repeat_interleave(WIDTH // 2, 1)
    frames = torch.stack([picture + 4 * t for t in range(FRAMES)])
    return (frames * 2 ** (bits - 8)).to(torch.uint8 if bits == 8 else torch.int16)


def middles(path) -> np.ndarray:
    """RGB at the middle of each patch of each frame."""
    with av.open(str(path)) as file:
        frames = np.stack([f.to_ndarray(format="rgb24") for f in file.decode(video=0)])
    h, w = frames.shape[1:3]
    return frames[:, [h // 4, 3 * h // 4]][:, :, [w // 4, 3 * w // 4]].astype(int)


@pytest.mark.parametrize("codec, bits", FORMS)
def test_a_copy_plays_and_looks_the_same(tmp_path, codec, bits):
    form = VideoFormat(codec, bits, fps=12.5, crf=8)
    source, copy = tmp_path / f"a{form.suffix}", tmp_path / "b.mp4"
    write_video(source, [clip(bits)], form)
    assert not facts_of(source).plays(4096)
    steps = []
    make_playable(source, copy, 4096, lambda: steps.append(1))
    facts = facts_of(copy)
    assert facts.plays(4096)
    assert (facts.frames, facts.fps) == (FRAMES, 12.5) == (len(steps), 12.5)
    assert (facts.width, facts.height) == (WIDTH, HEIGHT)
    want = clip(8)[:, [12, 36]][:, :, [20, 60]].numpy().astype(int)
    assert np.abs(middles(copy) - want).max() <= 4
    assert [p.name for p in tmp_path.iterdir() if "part" in p.name] == []


def test_h264_in_8_bits_plays_as_it_is_until_it_is_too_large(tmp_path):
    path, small = tmp_path / "a.mp4", tmp_path / "small.mp4"
    write_video(path, [clip(8)], VideoFormat("h264", 8))
    assert facts_of(path).plays(WIDTH)
    assert not facts_of(path).plays(WIDTH - 1)
    make_playable(path, small, 40)
    assert (facts_of(small).width, facts_of(small).height) == (40, 24)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_video_that_asks_to_be_turned_is_shown_upright(tmp_path, turns):
    path, copy = tmp_path / "a.mp4", tmp_path / "copy.mp4"
    write_shades(path, range(2), codec="libx264", size=(32, 64), turned=turns)
    facts = facts_of(path)
    assert (facts.width, facts.height) == ((64, 32) if turns == 2 else (32, 64))
    for max_side in (4096, 48):
        make_playable(path, copy, max_side)
        found = facts_of(copy)
        assert (found.width, found.height) == fitted(facts.width, facts.height, max_side)
        with av.open(str(copy)) as file:
            given = [(f.rotation, f.to_ndarray(format="rgb24")) for f in file.decode(video=0)]
        (want, *_) = (frame.pixels() for frame in FileSource(str(path)).frames(lambda: None))
        assert [rotation for rotation, _ in given] == [0, 0]
        corners = np.ix_([2, -3], [2, -3], [0])  # a white one says which way is up
        assert np.abs(given[0][1][corners].astype(int) - want[corners]).max() < 16
        assert want[corners].astype(int).max() > 200 > 40 > want[corners].min()


@pytest.mark.parametrize("turns", [0, 1])
@pytest.mark.parametrize("aspect, shown", [((64, 45), (128, 64)), ((1, 2), (90, 128))])
def test_pixels_that_are_not_square_become_square(tmp_path, aspect, shown, turns):
    path, copy = tmp_path / "a.mp4", tmp_path / "copy.mp4"
    shape = {"size": (64, 90), "pixel_aspect": Fraction(*aspect), "turned": turns}
    write_shades(path, range(2), codec="libx264", **shape)
    want = shown[::-1] if turns else shown
    facts = facts_of(path)
    assert (facts.width, facts.height) == want
    assert facts.plays(128) and not facts.plays(127)
    for max_side in (4096, 64):
        make_playable(path, copy, max_side)
        found = facts_of(copy)
        assert (found.width, found.height) == fitted(*want, max_side)
        with av.open(str(copy)) as file:
            assert (file.streams.video[0].sample_aspect_ratio or 1) == 1


def test_a_large_video_with_few_key_frames_does_not_step_and_its_copy_does(tmp_path):
    sizes = {"key_every": 250, "width": 3840, "height": 2160}
    rest = {"codec": "h264", "pixels": "yuv420p", "mp4": True, "frames": 321, "fps": 16.0}
    assert not VideoFacts(**sizes, **rest).steps
    assert VideoFacts(**{**sizes, "key_every": 8}, **rest).steps
    assert VideoFacts(**{**sizes, "width": 480, "height": 270}, **rest).steps
    path, copy = tmp_path / "a.mp4", tmp_path / "copy.mp4"
    write_video(path, [clip(8)] * 5, VideoFormat("h264", 8, fps=8))
    make_playable(path, copy, 4096)
    assert facts_of(path).frames == facts_of(copy).frames == 5 * FRAMES
    assert facts_of(path).key_every > facts_of(copy).key_every == 4


def test_a_cancel_leaves_no_half_a_copy(tmp_path):
    path = tmp_path / "a.mp4"
    write_video(path, [clip(8)], VideoFormat("h264", 8))

    def cancel():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_playable(path, tmp_path / "b.mp4", 4096, cancel)
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


def test_sizes_keep_their_shape_and_are_even():
    assert fitted(7680, 4320, 4096) == (4096, 2304)
    assert fitted(101, 51, 4096) == (100, 50)
    assert fitted(2160, 3840, 1000) == (562, 1000)


def test_what_is_no_video_is_named(tmp_path):
    file = tmp_path / "notes.mp4"
    file.write_text("not a video")
    with pytest.raises(ValueError, match=r"notes\.mp4 can't be read"):
        facts_of(file)
