"""Any video as a proxy: which frames are taken, how they are scaled, and the sound with them."""

import io
from fractions import Fraction

import av
import numpy as np
import psutil
import pytest
import torch
import torch.nn.functional as F

from atlasvid_core.plan import make_plan
from atlasvid_core.proxy_video import check_length, proxy_frames, taken
from atlasvid_core.sound import Sound, packed
from atlasvid_core.units import Grid
from atlasvid_core.video_file import VideoFormat, write_video
from atlasvid_core.video_source import FileSource, ImageSource

from .source_files import RATE, number_of, numbers, write_shades

CUBE = Grid(1, 2, 2)


def plan_of(frames, r_t=1.0, fps=16.0, width=96, height=64, proxy_height=32):
    return make_plan(
        width_px=width, height_px=height, frames_px=frames, fps=fps, r_t=r_t,
        proxy_height_px=proxy_height, cube_tok=CUBE,
    )  # fmt: skip


def nothing():
    pass


def proxy_of(source, plan, rate="video"):
    wanted = taken(plan, source, rate)
    check_length(source, plan, wanted, nothing)
    return list(proxy_frames(source, plan, wanted, nothing))


def in_memory(path):
    frames = [torch.from_numpy(f.pixels().copy()) for f in FileSource(str(path)).frames(nothing)]
    return ImageSource(torch.stack(frames) / 255, FileSource(str(path)).fps)


@pytest.mark.parametrize("suffix, codec", [("mkv", "ffv1"), ("mp4", "libx264"), ("ts", "libx264")])
def test_by_the_videos_rate_frames_are_counted(tmp_path, suffix, codec):
    path = write_shades(tmp_path / f"a.{suffix}", range(40), codec=codec, gop=12)
    source = FileSource(str(path))
    for r_t, want in ((1, range(33)), (4, range(0, 33, 4)), (3, [*range(0, 33, 3), 32, 32])):
        plan = plan_of(33, r_t)
        found = proxy_of(source, plan)
        assert numbers(found) == list(want) and len(found) == plan.proxy_frames_px
        assert taken(plan, source, "video").fps == 24
        assert all(frame.shape == (32, 48, 3) for frame in found)
    if suffix == "mkv":
        assert numbers(proxy_of(in_memory(path), plan_of(33, 4))) == list(range(0, 33, 4))


@pytest.mark.parametrize("fps, want", [(30, range(0, 49, 3)), (5, [i // 2 for i in range(17)])])
def test_by_the_plans_rate_frames_are_dropped_and_repeated(tmp_path, fps, want):
    path = write_shades(tmp_path / "a.mkv", range(50), fps)
    for source in (FileSource(str(path)), in_memory(path)):
        assert numbers(proxy_of(source, plan_of(17, fps=10), "plan")) == list(want)
        assert taken(plan_of(17, fps=10), source, "plan").fps == 10
        assert numbers(proxy_of(source, plan_of(17, 4, fps=10), "plan")) == list(want)[::4]


def test_frames_at_uneven_times_are_taken_by_their_times_at_the_plans_rate(tmp_path):
    times = [0, 1, 2, 3, 4, 20, 21, 22, 40]
    source = FileSource(str(write_shades(tmp_path / "a.mkv", times, fps=20)))
    found = numbers(proxy_of(source, plan_of(9, fps=4), "plan"))  # each 5 of these
    assert found == [0, 4, 4, 5, 5, 7, 7, 8, 8]
    assert numbers(proxy_of(source, plan_of(9))) == list(range(9))


@pytest.mark.parametrize("codec, suffix", [("ffv1", "mkv"), ("libx264", "mp4"), ("libx264", "ts")])
def test_it_begins_where_it_is_told_and_ends_with_the_part(tmp_path, codec, suffix):
    path = write_shades(tmp_path / f"a.{suffix}", range(48), codec=codec, gop=10)
    assert numbers(FileSource(str(path), 0.5).frames(nothing)) == list(range(12, 48))
    assert numbers(FileSource(str(path), 0.49).frames(nothing))[0] == 12
    part = FileSource(str(path), 1.0, 0.5)
    assert numbers(part.frames(nothing)) == list(range(24, 36))
    assert len(list(part.times(nothing))) == 12
    assert max(part.times(nothing)) == pytest.approx(11 / 24, abs=1e-3)
    with open(path, "rb") as file:
        same = FileSource(io.BytesIO(file.read()), 1.0, 0.5)
    assert numbers(same.frames(nothing)) == numbers(part.frames(nothing))
    if suffix == "mkv":
        images = in_memory(path)
        later = ImageSource(images.images_THWC, images.fps, start_s=1.0)
        assert numbers(later.frames(nothing)) == list(range(24, 48))


def test_it_is_cut_to_the_targets_shape_and_scaled_by_area():
    torch.manual_seed(0)
    images = torch.randint(256, (1, 256, 512, 3)).float() / 255
    plan = plan_of(1, width=192, height=128, proxy_height=64)
    (found,) = proxy_of(ImageSource(images, Fraction(24)), plan)
    assert found.shape == (64, 96, 3) and found.dtype == torch.uint8
    cut = images[:, :, 64:448].movedim(-1, 1)
    want = 255 * F.avg_pool2d(cut, 4)[0].movedim(0, -1)
    assert (found - want).abs().max() <= 0.5 + 1e-3


def test_a_small_video_is_enlarged_and_an_odd_size_taken():
    images = torch.rand(1, 33, 51, 4)
    (found,) = proxy_of(ImageSource(images, Fraction(24)), plan_of(1, height=64, proxy_height=64))
    assert found.shape == (64, 96, 3)


def test_it_stands_upright_and_its_pixels_are_square(tmp_path):
    quarter = write_shades(
        tmp_path / "a.mp4", range(2), codec="libx264", size=(32, 64), turned=True
    )
    source = FileSource(str(quarter))
    picture = next(source.frames(nothing)).pixels()
    assert picture.shape == (64, 32, 3)
    bright = [float(c.mean()) > 127 for c in (picture[:8, :8], picture[-8:, :8], picture[:8, -8:])]
    assert bright == [False, True, False]  # a quarter turn against the clock
    assert source.pixel_aspect == 1
    wide = {"pixel_aspect": Fraction(3, 2), "codec": "libx264", "size": (32, 32)}
    for turned, aspect in ((False, Fraction(3, 2)), (True, Fraction(2, 3))):
        path = write_shades(tmp_path / f"{turned}.mp4", range(1), turned=turned, **wide)
        assert FileSource(str(path)).pixel_aspect == aspect
    plain = FileSource(str(tmp_path / "False.mp4"))
    (found,) = proxy_of(plain, plan_of(1))  # 3 : 2 as it is shown: nothing is cut off
    assert float(found[1, 1, 0]) > 240 and number_of(found) == 0


@pytest.mark.parametrize(
    "codec, bits", [("h264", 8), ("h264", 10), ("prores", 10), ("ffv1", 8), ("ffv1", 10)]
)
def test_its_colours_are_those_it_was_made_of(tmp_path, codec, bits):
    form, top = VideoFormat(codec, bits, crf=4), 2**bits - 1
    path = tmp_path / f"a{form.suffix}"
    for colour in ((0, 0, 0), (64, 64, 64), (128, 128, 128), (255, 255, 255), (250, 20, 90)):
        levels = (torch.tensor(colour) * top / 255).round()
        levels = levels.to(torch.uint8 if bits == 8 else torch.uint16)
        write_video(path, [levels.expand(1, 64, 64, 3)], form)
        (frame,) = FileSource(str(path)).frames(nothing)
        error = frame.pixels().astype(int) - colour
        assert abs(error).max() <= 1, colour


def test_its_sound_goes_with_the_part_that_is_shown(tmp_path):
    path = str(write_shades(tmp_path / "a.mkv", range(48), tone=1.5))
    for start in (0.0, 0.5):
        sound = FileSource(path, start).sound(0.75)
        assert sound.rate == RATE and sound.samples_CS.shape == (1, 6000)
        first = (sound.samples_CS[0, :3] * 2**15).round().tolist()
        assert first == [start * RATE + i for i in range(3)]
    assert FileSource(path, 1.0).sound(2.0).samples_CS.shape == (1, 4000)  # as much as there is
    late = write_shades(tmp_path / "b.mkv", range(48), tone=1.0, late_s=0.5)
    samples = FileSource(str(late)).sound(1.0).samples_CS[0]
    assert samples.shape == (8000,) and not samples[:4001].any() and samples[4001:].all()
    four = write_shades(tmp_path / "c.mkv", range(4), tone=0.1, layout="quad")
    assert FileSource(str(four)).sound(0.1).layout == "stereo"
    eight = write_shades(tmp_path / "e.mkv", range(4), tone=0.1, layout="7.1")
    sound = FileSource(str(eight)).sound(0.1)  # read row by row it ended the process
    assert sound.layout == "7.1" and sound.samples_CS.shape == (8, 800)
    assert torch.equal((sound.samples_CS * 2**15).round(), torch.arange(800.0).expand(8, -1))
    assert FileSource(str(write_shades(tmp_path / "d.mkv", range(4)))).sound(1.0) is None
    track = Sound(torch.arange(16000.0)[None] / 16000, 8000)
    images = ImageSource(torch.zeros(48, 8, 8, 3), Fraction(24), track, start_s=0.5)
    assert torch.equal(images.sound(1.0).samples_CS, track.samples_CS[:, 4000:12000])


def test_sound_that_holds_no_numbers_costs_no_video(tmp_path):
    path = str(tmp_path / "a.mkv")
    with av.open(path, "w") as file:
        video = file.add_stream("ffv1", rate=24)
        audio = file.add_stream("pcm_f32le", rate=RATE, layout="mono")
        video.width = video.height = 16
        frame = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), "rgb24")
        file.mux(video.encode(frame) + video.encode())
        samples = torch.tensor([[0.5, torch.nan, torch.inf, -torch.inf] * 100])
        file.mux(audio.encode(packed(samples, RATE, "mono")) + audio.encode())
    heard = FileSource(path).sound(0.05).samples_CS
    assert heard[0, :4].tolist() == [0.5, 0, 1, -1]


def test_a_video_that_is_too_short_is_refused_before_it_is_decoded(tmp_path):
    path = write_shades(tmp_path / "a.mkv", range(48))

    class Undecoded(FileSource):
        def frames(self, on_frame):
            raise AssertionError("decoded")

    source = Undecoded(str(path))
    with pytest.raises(ValueError, match=r"a\.mkv has 48 frames; the plan takes 81.* to 45"):
        proxy_of(source, plan_of(81))
    with pytest.raises(ValueError, match=r"second 1 on, has 24 frames; .* to 21"):
        proxy_of(Undecoded(str(path), 1.0), plan_of(81))
    words = r"lasts 2\.00 s; the plan takes 5\.00 s \(81 frames at 16 a second\).* to 33"
    with pytest.raises(ValueError, match=words):
        proxy_of(source, plan_of(81), "plan")
    with pytest.raises(ValueError, match="from second 3 on, holds no frames.*earlier start"):
        proxy_of(Undecoded(str(path), 3.0), plan_of(1))
    whole = FileSource(str(path))
    assert numbers(proxy_of(whole, plan_of(33), "plan"))[-1] == 47  # the last one is held
    assert len(proxy_of(whole, plan_of(45))) == 45
    strange = ImageSource(torch.zeros(9, 32, 48, 3), Fraction(1000))
    with pytest.raises(ValueError, match='has 1000 frames a second.* 0.01 to 240.* rate to "plan"'):
        proxy_of(strange, plan_of(9))
    with pytest.raises(ValueError, match="rate 'fast' is unknown"):
        proxy_of(whole, plan_of(5), "fast")
    with pytest.raises(ValueError, match="holds no frames"):
        proxy_of(ImageSource(torch.zeros(0, 3, 0, 0), Fraction(24)), plan_of(1))


def test_one_that_ends_before_it_says_is_refused_too():
    class Boasts(ImageSource):
        def times(self, on_frame):
            return iter(range(100))

    source = Boasts(torch.zeros(7, 32, 48, 3), Fraction(24))
    with pytest.raises(ValueError, match="The video has 7 frames; the plan takes 9.* to 5"):
        proxy_of(source, plan_of(9))


def test_files_without_a_video_are_refused(tmp_path):
    text, sound = tmp_path / "a.mp4", tmp_path / "b.mkv"
    text.write_text("no video")
    with pytest.raises(ValueError, match=r"a\.mp4 can't be read as a video"):
        proxy_of(FileSource(str(text)), plan_of(1))
    with pytest.raises(ValueError, match=r"gone\.mp4 can't be read as a video"):
        proxy_of(FileSource(str(tmp_path / "gone.mp4")), plan_of(1))
    with av.open(str(sound), "w") as file:
        stream = file.add_stream("pcm_s16le", rate=RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 100), np.int16), "s16", "mono")
        frame.sample_rate = RATE
        file.mux(stream.encode(frame))
        file.mux(stream.encode())
    with pytest.raises(ValueError, match=r"b\.mkv holds no video"):
        proxy_of(FileSource(str(sound)), plan_of(1))


def test_a_cancel_ends_it_at_any_frame(tmp_path):
    source, plan = FileSource(str(write_shades(tmp_path / "a.mkv", range(20)))), plan_of(17)
    wanted = taken(plan, source, "video")

    def after(count):
        calls = iter(range(count))

        def stop():
            if next(calls, None) is None:
                raise KeyboardInterrupt

        return stop

    with pytest.raises(KeyboardInterrupt):
        check_length(source, plan, wanted, after(3))
    with pytest.raises(KeyboardInterrupt):
        list(proxy_frames(source, plan, wanted, after(3)))


def test_memory_does_not_follow_the_videos_length(tmp_path):
    path = str(write_shades(tmp_path / "a.mp4", range(97), size=(720, 1280), codec="libx264"))
    plan = plan_of(97, width=1280, height=720, proxy_height=64)
    source, process, used = FileSource(path), psutil.Process(), []

    def look():
        used.append(process.memory_info().rss)

    for _ in proxy_frames(source, plan, taken(plan, source, "video"), look):
        pass
    image = 720 * 1280 * 3 * 4
    assert len(used) >= 97 and max(used) - max(used[:24]) < 4 * image  # of 73 frames
