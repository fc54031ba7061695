"""CompareVideos: what browsers play is shown from where it lies; anything else gets a copy."""

import gc
from io import BytesIO
from pathlib import Path

import pytest
import torch

from atlasvid_core.playable import facts_of
from atlasvid_core.video_file import VideoFormat, write_video


@pytest.fixture
def compare(pack, monkeypatch, tmp_path):
    import folder_paths
    from atlasvid_pack.nodes.compare import CompareVideos

    (tmp_path / "temp").mkdir()
    monkeypatch.setattr(folder_paths, "temp_directory", str(tmp_path / "temp"))

    def run(proxy, detail, match="time", max_side=4096):
        output = CompareVideos.execute(proxy, detail, match, max_side)
        return output.ui["atlasvid_compare"][0]

    return run


@pytest.fixture
def video(output):
    """Writes a video of 5 frames of 32 x 48 into ComfyUI's output folder; -> VIDEO."""
    from comfy_api.latest import InputImpl

    def make(name, codec="h264", bits=8, folder=output):
        folder.mkdir(parents=True, exist_ok=True)
        frames = torch.zeros(5, 32, 48, 3, dtype=torch.uint8 if bits == 8 else torch.int16)
        write_video(folder / name, [frames], VideoFormat(codec, bits, fps=8))
        return InputImpl.VideoFromFile(str(folder / name))

    return make


def file_of(shown) -> Path:
    import folder_paths

    folder = Path(folder_paths.get_directory_by_type(shown["type"]))
    return folder / shown["subfolder"] / shown["filename"]


def test_a_video_that_plays_is_shown_where_it_lies(compare, video):
    shown = compare(video("small.mp4"), video("large.mp4"), match="ends")
    assert shown["match"] == "ends"
    assert shown["detail"] == {
        "filename": "large.mp4", "subfolder": "", "type": "output",
        "width": 48, "height": 32, "frames": 5, "fps": 8.0, "codec": "h264",
    }  # fmt: skip


def test_what_browsers_do_not_play_gets_a_copy_in_temp(compare, video):
    shown = compare(video("a.mp4", "ffv1"), video("b.mov", "prores", 10))
    for which, codec in (("proxy", "ffv1"), ("detail", "prores")):
        assert shown[which]["type"] == "temp"
        assert shown[which]["codec"] == codec  # of the video itself
        assert facts_of(file_of(shown[which])).plays(4096)
        assert facts_of(file_of(shown[which])).frames == shown[which]["frames"] == 5


def test_copies_go_once_they_take_too_much(compare, video, monkeypatch):
    """A server that compares many does not keep them all; what was written out goes, too."""
    import folder_paths
    from atlasvid_pack.nodes import temporary_video
    from comfy_api.latest import InputImpl

    gc.collect()
    temporary_video._left.clear()
    small, data = video("b.mp4"), Path(video("a.mkv", "ffv1").get_stream_source()).read_bytes()
    monkeypatch.setattr(temporary_video, "KEEP_BYTES", 1)
    shown = [
        file_of(compare(InputImpl.VideoFromFile(BytesIO(data)), small)["proxy"]) for _ in range(3)
    ]
    assert list(Path(folder_paths.get_temp_directory()).iterdir()) == shown[2:]  # what is shown


def test_a_large_video_is_shown_smaller(compare, video):
    shown = compare(video("a.mp4"), video("b.mp4"), max_side=32)
    facts = facts_of(file_of(shown["detail"]))
    assert (facts.width, facts.height) == (32, 20)
    assert (shown["detail"]["width"], shown["detail"]["height"]) == (48, 32)


def test_a_file_outside_of_comfyuis_folders_is_copied(compare, video, tmp_path):
    shown = compare(video("a.mp4", folder=tmp_path / "elsewhere"), video("b.mp4"))
    assert shown["proxy"]["type"] == "temp"
    assert file_of(shown["proxy"]).is_file()


def test_a_name_that_the_host_does_not_show_is_copied(compare, video):
    shown = compare(video("a..b.mp4"), video("b.mp4"))
    assert shown["proxy"]["type"] == "temp" and ".." not in shown["proxy"]["filename"]
    assert facts_of(file_of(shown["proxy"])).frames == 5


def test_frames_in_memory_are_written_out(compare, video):
    from fractions import Fraction

    from comfy_api.latest import InputImpl
    from comfy_api.util import VideoComponents

    frames = VideoComponents(images=torch.rand(3, 32, 32, 3), frame_rate=Fraction(4))
    shown = compare(InputImpl.VideoFromComponents(frames), video("b.mp4"))
    assert (shown["proxy"]["frames"], shown["proxy"]["fps"]) == (3, 4.0)
    assert facts_of(file_of(shown["proxy"])).plays(4096)


def test_a_file_in_memory_is_written_out(compare, video):
    from comfy_api.latest import InputImpl

    data = Path(video("a.mp4").get_stream_source()).read_bytes()
    shown = compare(InputImpl.VideoFromFile(BytesIO(data)), video("b.mp4"))
    assert facts_of(file_of(shown["proxy"])).plays(4096)
    assert shown["proxy"]["frames"] == 5
