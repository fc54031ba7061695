"""PyAV reads back what was asked for: codec, pixel format, rate, frames, colour; FFV1 is exact."""

from fractions import Fraction

import av
import pytest
import torch

from atlasvid_core.sound import PACKED, Sound, unpacked
from atlasvid_core.video_file import CODECS, VideoFormat, copy_video, luma_chroma, write_video

READ_AS = {"h264": "h264", "h265": "hevc", "av1": "av1", "prores": "prores", "ffv1": "ffv1"}
ASKED = [(codec, bits) for codec, c in CODECS.items() for bits in c.pixels]


def ramps(frames, bits, size=(72, 104)):
    """Smooth colours that move, as integers."""
    y, x = torch.meshgrid(*(torch.linspace(0, 1, n) for n in size), indexing="ij")
    t = torch.arange(frames).view(-1, 1, 1) / frames
    rgb = torch.stack(torch.broadcast_tensors(x, y, (x + t) / 2), dim=-1)
    return (rgb * (2**bits - 1)).round().to(torch.uint8 if bits == 8 else torch.uint16)


def skip_without(codec):
    if CODECS[codec].encoder not in av.codecs_available:
        pytest.skip(f"this PyAV has no {CODECS[codec].encoder}")


@pytest.mark.parametrize("codec, bits", ASKED)
def test_read_back_as_asked(codec, bits, tmp_path):
    skip_without(codec)
    form = VideoFormat(codec, bits, fps=23.976)
    path, given = tmp_path / f"video{form.suffix}", ramps(7, bits)
    write_video(path, given.split([1, 4, 2]), form)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        assert stream.codec_context.codec.canonical_name == READ_AS[codec]
        assert (stream.width, stream.height, stream.pix_fmt) == (104, 72, form.pixels)
        assert abs(stream.average_rate - Fraction(24000, 1001)) < Fraction(1, 1000)
        told, told_frames = stream.codec_context, stream.frames
        frames = list(file.decode(video=0))
    rgb = codec == "ffv1"
    assert len(frames) == 7 and told_frames == 7
    steps = {b.time - a.time for a, b in zip(frames, frames[1:])}
    assert all(abs(step - 1001 / 24000) < 1e-4 for step in steps)
    for frame in [told, *frames]:
        tags = (frame.colorspace, frame.color_range, frame.color_primaries, frame.color_trc)
        matrix, range_, *others = map(int, tags)
        assert (matrix, others) == (0 if rgb else 1, [1, 1])
        # ProRes files have no place for the range: limited, which FFmpeg before 8.1 leaves unsaid.
        assert range_ == (2 if rgb else 1) or (codec == "prores" and range_ == 0)
    seen = torch.stack(  # to rgb48le FFmpeg before 8.1 converts 10 bits wrongly
        [torch.from_numpy(f.to_ndarray(format="gbrp16le").astype("int32")) for f in frames]
    )
    error = (seen / 65535 - given.to(torch.int32) / (2**bits - 1)).abs()
    assert error.mean() < 0.02


@pytest.mark.parametrize("fps", [0.01, 0.25, 1, 12.5, 16, 24, 29.97, 30, 59.94, 240])
def test_the_rate_is_the_one_asked_for(fps, tmp_path):
    write_video(tmp_path / "v.mp4", [ramps(3, 8)], VideoFormat(fps=fps))
    with av.open(str(tmp_path / "v.mp4")) as file:
        assert float(file.streams.video[0].average_rate) == pytest.approx(fps, rel=1e-5)
        assert len(list(file.decode(video=0))) == 3


@pytest.mark.parametrize("bits", [8, 10])
def test_ffv1_is_exact(bits, tmp_path):
    given = torch.randint(0, 2**bits, (3, 48, 56, 3), dtype=torch.int32)
    given = given.to(torch.uint8 if bits == 8 else torch.uint16)
    write_video(tmp_path / "v.mp4", [given], VideoFormat("ffv1", bits))
    with av.open(str(tmp_path / "v.mp4")) as file:
        form = "rgb24" if bits == 8 else "gbrp10le"
        seen = [torch.from_numpy(f.to_ndarray(format=form)) for f in file.decode(video=0)]
    assert torch.equal(torch.stack(seen), given)


@pytest.mark.parametrize("bits", [8, 10])
def test_colours_are_those_of_bt709(bits):
    """Grey, and the bars of ITU-R BT.709 in limited range (8 bits, values of the standard)."""
    bars = {
        (255, 255, 255): (235, 128, 128), (0, 0, 0): (16, 128, 128), (255, 0, 0): (63, 102, 240),
        (0, 255, 0): (173, 42, 26), (0, 0, 255): (32, 240, 118),
    }  # fmt: skip
    for rgb, ycc in bars.items():
        top = 2**bits - 1
        flat = (torch.tensor(rgb).double() / 255 * top).round()
        flat = flat.to(torch.uint8 if bits == 8 else torch.uint16).expand(4, 6, 3)
        for halve_rows in (True, False):
            y, cb, cr = luma_chroma(flat, bits, halve_rows)
            assert y.shape == (4, 6) and cb.shape == cr.shape == (2 if halve_rows else 4, 3)
            for plane, value in zip((y, cb, cr), ycc):
                values = plane.float() / 2 ** (bits - 8)
                assert values.min() == values.max() and abs(values.max() - value) <= 0.51


def test_the_file_a_player_shows_is_the_one_given(tmp_path):
    """FFmpeg's own conversion back to RGB, by the tags, finds the colours again."""
    given = torch.tensor([200, 40, 90], dtype=torch.uint8).expand(2, 64, 64, 3)
    write_video(tmp_path / "v.mp4", [given], VideoFormat("h264", crf=4))
    with av.open(str(tmp_path / "v.mp4")) as file:
        for frame in file.decode(video=0):
            seen = torch.from_numpy(frame.to_ndarray(format="rgb24"))
            assert (seen.int() - given[0].int()).abs().max() <= 3


@pytest.mark.parametrize("codec, bits", ASKED)
def test_the_same_frames_make_the_same_bytes(codec, bits, tmp_path):
    skip_without(codec)
    form = VideoFormat(codec, bits)
    blocks = torch.randint(2**bits, (40, 19, 19, 3), generator=torch.manual_seed(1))
    given = blocks.repeat_interleave(10, 1).repeat_interleave(10, 2).to(ramps(1, bits).dtype)
    files = [tmp_path / f"{number}{form.suffix}" for number in range(3)]
    for file in files:
        write_video(file, [given], form)
    assert len({file.read_bytes() for file in files}) == 1


def test_a_half_file_has_no_final_name(tmp_path):
    def chunks():
        yield ramps(1, 8)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_video(tmp_path / "v.mp4", chunks(), VideoFormat())
    with pytest.raises(ValueError, match="without frames"):
        write_video(tmp_path / "v.mp4", [], VideoFormat())
    assert not list(tmp_path.iterdir())


def test_copied_without_decoding(tmp_path):
    write_video(tmp_path / "v.mov", [ramps(5, 10)], VideoFormat("prores", 10))
    told: list[tuple[int, int]] = []
    note = {"prompt": "{}"}
    copy_video(tmp_path / "v.mov", tmp_path / "w.mp4", "mov", note, lambda *part: told.append(part))
    size = (tmp_path / "v.mov").stat().st_size
    assert told == sorted(told) and len(told) == 6 and told[-1] == (size, size)
    with av.open(str(tmp_path / "w.mp4")) as file:
        assert file.metadata["prompt"] == "{}"
        assert file.streams.video[0].codec_context.name == "prores"
        assert len(list(file.decode(video=0))) == 5

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copy_video(tmp_path / "v.mov", tmp_path / "x.mp4", "mov", {}, stop)
    assert {path.name for path in tmp_path.iterdir()} == {"v.mov", "w.mp4"}


def heard(path):
    """-> codec, rate, samples [C, S] of a file's sound."""
    with av.open(str(path)) as file:
        (stream,) = file.streams.audio
        context = stream.codec_context
        to_floats = av.AudioResampler(PACKED, context.layout)
        parts = [unpacked(p) for frame in file.decode(audio=0) for p in to_floats.resample(frame)]
        return context.name, context.sample_rate, torch.cat(parts, dim=1).double()


@pytest.mark.parametrize("codec, bits, name", [("h264", 8, "aac"), ("prores", 10, "pcm_s16le")])
@pytest.mark.parametrize(
    "channels, rate, in_aac",
    [
        (1, 44100, 44100), (2, 48000, 48000), (8, 48000, 48000), (2, 192000, 96000),
        (1, 11000, 11025),
    ],
)  # fmt: skip
def test_sound_ends_with_the_frames(codec, bits, name, channels, rate, in_aac, tmp_path):
    taken = in_aac if name == "aac" else rate
    slack_s = max(0.05, 1024 / taken)  # an AAC frame
    tone = torch.sin(torch.arange(2 * rate) * (2 * torch.pi * 440 / rate)).expand(channels, -1) / 2
    form = VideoFormat(codec, bits, fps=12)
    path, copy = tmp_path / f"v{form.suffix}", tmp_path / f"w{form.suffix}"
    write_video(path, ramps(9, bits).split([4, 5]), form, Sound(tone, rate))
    copy_video(path, copy, CODECS[codec].container, {})
    for file in (path, copy):
        told, told_rate, samples = heard(file)
        assert (told, told_rate, samples.shape[0]) == (name, taken, channels)
        assert abs(samples.shape[1] / taken - 9 / 12) < slack_s
        spectrum = torch.fft.rfft(samples[0, : taken // 2]).abs()
        assert abs(spectrum.argmax() * 2 - 440) <= 4  # Hz
        with av.open(str(file)) as opened:
            assert len(list(opened.decode(video=0))) == 9
    write_video(
        path, [ramps(9, bits)], form, Sound(tone[:, : rate // 4], rate)
    )  # it may be shorter
    assert abs(heard(path)[2].shape[1] / taken - 0.25) < slack_s


def test_each_channel_of_eight_stays_where_it_was(tmp_path):
    given = torch.arange(1, 9)[:, None].expand(8, 48000) / 16
    write_video(tmp_path / "v.mov", [ramps(9, 10)], VideoFormat("prores", 10), Sound(given, 48000))
    _, _, samples = heard(tmp_path / "v.mov")
    assert samples.shape == (8, 27000) and (samples - given[:, :27000]).abs().max() < 1e-4


def test_refused(monkeypatch):
    with pytest.raises(ValueError, match=r"shape \[3, 9\]; it must have 1, 2, 6, 8 channels"):
        Sound(torch.zeros(3, 9), 48000)
    with pytest.raises(ValueError, match="has 0 samples a second; it must have 1 at least"):
        Sound(torch.zeros(2, 9), 0)
    with pytest.raises(ValueError, match="sound holds values that are no numbers.*disconnect it"):
        Sound(torch.tensor([[0.0, torch.nan]]), 48000)
    with pytest.raises(ValueError, match="prores holds 10 bits a channel, not 8. Set bits to 10"):
        VideoFormat("prores", 8)
    with pytest.raises(ValueError, match="'vp9' is not known; choose one of"):
        VideoFormat("vp9")
    with pytest.raises(ValueError, match="fps is 0; it must be 0.01 to 240"):
        VideoFormat(fps=0)
    monkeypatch.setattr("av.codecs_available", {"libx264"})
    with pytest.raises(ValueError, match="no encoder for av1 .libsvtav1.; it has those for h264"):
        VideoFormat("av1")
