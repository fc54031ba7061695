"""Encoders hold less of large videos, and are asked for it in words that they know."""

import av
import pytest
import torch

from atlasvid_core import encoder_memory
from atlasvid_core.encoder_memory import bounded
from atlasvid_core.video_file import CODECS, VideoFormat, write_video


@pytest.mark.parametrize("codec", CODECS)
def test_up_to_full_hd_nothing_changes(codec):
    known = CODECS[codec]
    for width, height in ((64, 64), (1920, 1080), (1080, 1920)):
        assert bounded(known.encoder, known.options, width, height) == known.options


@pytest.mark.parametrize(
    "size, frames", [((2560, 1440), 22), ((3840, 2160), 10), ((2160, 3840), 10), ((7680, 4320), 8)]
)
def test_frames_ahead_fall_with_the_frames_size(size, frames):
    options = bounded("libx264", {"x264-params": "a=1"}, *size)
    assert options == {"x264-params": f"a=1:rc-lookahead={frames}"}


@pytest.mark.parametrize(
    "codec, told",
    [("h264", ["rc_lookahead=10"]), ("h265", ["rc-lookahead=8", "frame-threads=2"])],
)
def test_the_encoder_says_that_it_does_so(codec, told, tmp_path, monkeypatch):
    """Both write their settings into the stream."""
    if CODECS[codec].encoder not in av.codecs_available:
        pytest.skip(f"this PyAV has no {CODECS[codec].encoder}")
    monkeypatch.setattr(encoder_memory, "FULL_PX", 128 * 64)  # a quarter of these frames
    frames = torch.zeros(3, 256, 128, 3, dtype=torch.uint8)
    write_video(tmp_path / "v.mp4", [frames], VideoFormat(codec))
    written = (tmp_path / "v.mp4").read_bytes()
    assert [words for words in told if words.encode() not in written] == []


def test_av1_takes_what_it_is_asked_for(tmp_path, monkeypatch, capfd):
    if CODECS["av1"].encoder not in av.codecs_available:
        pytest.skip("this PyAV has no libsvtav1")
    monkeypatch.setattr(encoder_memory, "FULL_PX", 128 * 64)
    frames = torch.zeros(3, 256, 128, 3, dtype=torch.uint8)
    write_video(tmp_path / "v.mp4", [frames], VideoFormat("av1"))
    assert "Level of Parallelism: 1" in capfd.readouterr().err
