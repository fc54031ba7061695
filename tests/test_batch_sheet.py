"""Contact sheets: what they need, what they cost, and that a batch is over before them."""

import os
import sys

import av
import numpy as np
import pytest
from PIL import Image, ImageFont

from atlasvid_batch import caption, sheet
from atlasvid_batch.board import Standing
from atlasvid_batch.caption import font_for
from atlasvid_batch.jobs import Job
from atlasvid_batch.sheet import write_sheets
from atlasvid_batch.shots import shots_of
from atlasvid_batch.table import Row

from .rough_server import RoughServer, SickServer

HAN = "山湖城"


def done(*files, words="a lake", number=1):
    row = Row(number, number + 1, {"Prompt.text": words})
    return Standing(Job("k", "n", row, 0, {}, {}), state="done", files=list(files))


@pytest.fixture
def write_video(tmp_path):
    """-> write(name, frames, gop): a video that turns from black to white."""

    def write(name="a.mp4", frames=33, gop=250, size_px=(64, 48)):
        with av.open(str(tmp_path / name), "w") as file:
            stream = file.add_stream("h264", rate=10, options={"g": str(gop), "bf": "2"})
            stream.width, stream.height, stream.pix_fmt = *size_px, "yuv420p"
            for i in range(frames):
                shade = round(255 * i / max(1, frames - 1))
                picture = np.full((size_px[1], size_px[0], 3), shade, np.uint8)
                file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
            file.mux(stream.encode())
        return name

    return write


# What they need


def test_an_old_pillow_is_told_before_anything_is_made(tmp_path, monkeypatch):
    monkeypatch.setattr(ImageFont, "load_default", lambda: None)  # takes no size
    said = []
    assert write_sheets([done()], tmp_path, said.append) == []
    assert "it needs Pillow 10.1 or later" in said[0] and not list(tmp_path.iterdir())


def test_videos_without_pyav_make_no_empty_sheets(tmp_path, monkeypatch, write_video):
    Image.new("RGB", (9, 9)).save(tmp_path / "b.png")
    write_video()
    monkeypatch.setitem(sys.modules, "av", None)
    said = []
    assert write_sheets([done("b.png"), done("a.mp4")], tmp_path, said.append) == []
    assert "it needs PyAV" in said[0]
    assert len(write_sheets([done("b.png")], tmp_path, said.append)) == 1  # pictures need none


def test_in_a_terminal_one_reads_why_there_is_no_sheet(batch, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    with RoughServer() as server:
        assert batch(["t0"], [server], sheets=True) == 0
    assert "no contact sheet: it needs Pillow" in capsys.readouterr().out


# After the batch


@pytest.mark.parametrize("trouble", [KeyboardInterrupt, OSError(28, "No space left on device")])
@pytest.mark.parametrize("fails", [False, True])
def test_trouble_with_a_sheet_changes_nothing_of_the_outcome(
    batch, monkeypatch, capsys, trouble, fails
):
    def broken(*_):
        raise trouble

    monkeypatch.setattr(sheet, "_page", broken)
    with SickServer(only="t1" if fails else "none") as server:
        assert batch(["t0", "t1"], [server], "--tries", "1", sheets=True) == int(fails)
    said = capsys.readouterr()
    assert ("failed: row 2 (line 3): KSampler" in said.err) == fails
    assert "making contact sheets" in said.out
    assert "stopped" in said.out or "no contact sheet: [Errno 28]" in said.err


def test_a_sheet_that_shows_all_this_is_left(tmp_path, write_video):
    write_video()
    (path,) = write_sheets([done("a.mp4")], tmp_path, print)
    os.utime(path, (0, 0))  # some disks' clocks are too coarse to tell two writes apart
    said = []
    assert write_sheets([done("a.mp4")], tmp_path, said.append) == [path]
    assert path.stat().st_mtime == 0 and not said
    for jobs in ([done("a.mp4", words="a city")], [done("a.mp4"), done(number=2)]):
        os.utime(path, (0, 0))
        write_sheets(jobs, tmp_path, said.append)
        assert len(said) == 1 and path.stat().st_mtime != 0
        said.clear()
    write_video(frames=9)
    write_sheets([done("a.mp4"), done(number=2)], tmp_path, said.append)
    assert len(said) == 1


# What they cost


@pytest.mark.parametrize(("frames", "gop", "most"), [(33, 250, 33 + 2), (121, 10, 36)])
def test_no_frame_is_decoded_twice_and_those_between_key_frames_alone(
    tmp_path, write_video, monkeypatch, frames, gop, most
):
    write_video(frames=frames, gop=gop)
    decoded, usual = [], av.open

    class Counted:
        def __init__(self, path):
            self._file = usual(path)

        def __getattr__(self, name):
            return getattr(self._file, name)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self._file.close()

        def decode(self, stream):
            for frame in self._file.decode(stream):
                decoded.append(frame.pts)
                yield frame

    monkeypatch.setattr(av, "open", Counted)
    shots = shots_of(tmp_path / "a.mp4", (480, 160))
    first, middle, last = (np.asarray(shot).mean() for shot in shots)
    assert first < 12 and 115 < middle < 140 and last > 243
    assert len(decoded) == len(set(decoded)) <= most


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_short_videos_have_their_frames(tmp_path, write_video, frames):
    write_video(frames=frames)
    shots = [np.asarray(shot).mean() for shot in shots_of(tmp_path / "a.mp4", (480, 160))]
    assert len(shots) == (1 if frames == 1 else 3) and shots == sorted(shots)
    assert shots[0] < 12 and (frames == 1 or shots[-1] > 243)


# Letters


def tells_apart(font) -> bool:
    return len({bytes(font.getmask(letter)) for letter in HAN}) == len(HAN)


def test_letters_that_pillow_lacks_come_from_a_font_of_the_system():
    if not any(font and tells_apart(font) for font in map(caption._system, caption.FONTS)):
        pytest.skip("no font of this system has Chinese letters")
    assert font_for("a lake") is font_for("") is caption._own()
    assert not tells_apart(caption._own()) and tells_apart(font_for(f"a lake, {HAN}"))


def test_without_such_a_font_the_words_are_drawn_all_the_same(monkeypatch):
    monkeypatch.setattr(caption, "FONTS", ("there is none.ttf",))
    assert font_for(HAN) is caption._own()
