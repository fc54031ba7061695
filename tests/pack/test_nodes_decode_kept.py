"""TiledVAEDecodeToVideo goes on after a death, comes through a lack of memory and of disk."""

import logging
import os
import time
from contextlib import contextmanager

import av
import pytest
import torch

from atlasvid_core.wan.vae import WanVAE

from .common import SIZES

SIZE = (3, 9, 17)


@pytest.fixture(scope="session")
def vae(host):
    import comfy.sd

    torch.manual_seed(0)
    return comfy.sd.VAE(sd=WanVAE(dim=8).state_dict())


@pytest.fixture
def samples():
    return torch.randn(1, 16, *SIZE, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def to_video(nodes, vae):
    def call(samples, **options):
        chosen = {"fps": 16.0, "codec": "ffv1", "bits": "8", "crf": 18, "tile": 64} | options
        return nodes.TiledVAEDecodeToVideo(vae, {"samples": samples}, **chosen)

    return call


@pytest.fixture
def kept(output, monkeypatch):
    """-> names of files that decodes left, below the output folder; every place is kept."""
    from atlasvid_pack.atlasvid_core import parked
    from atlasvid_pack.nodes import decoding

    monkeypatch.setattr(parked, "SHARE", 0)
    monkeypatch.setattr(decoding, "Place", lambda *a: parked.Place(*a, every_s=0))
    folder = output / "atlasvid" / "decode"
    return lambda: sorted(str(p.relative_to(folder)) for p in folder.glob("*/*"))


class Killed(BaseException):
    pass


@pytest.fixture
def die_at(monkeypatch):
    """The job ends where it looks for a cancel for the `number`th time, as if it were killed."""
    from atlasvid_pack.nodes import host_progress

    def install(number, error=Killed):
        calls = []

        def check():
            calls.append(1)
            if len(calls) == number:
                raise error

        monkeypatch.setattr(host_progress, "stop_if_cancelled", check)
        return calls

    return install


@pytest.fixture
def short_of_memory(pack, monkeypatch):
    """Tiles whose side in pixels `fits` turns down run out of memory; -> the sides asked for."""
    from atlasvid_pack.atlasvid_core.tiles import TileWork

    chunk, asked = TileWork.chunk, []

    def install(fits):
        def limited(self, x, first):
            pixels = chunk(self, x, first)
            asked.append(max(pixels.shape[-2:]))
            if not fits(asked[-1]):
                raise torch.OutOfMemoryError("allocation on device")
            return pixels

        monkeypatch.setattr(TileWork, "chunk", limited)
        return asked

    return install


def seen(video):
    with av.open(video.get_stream_source()) as file:
        return torch.stack(
            [torch.from_numpy(f.to_ndarray(format="rgb24")) for f in file.decode(video=0)]
        )


def coded(video):
    with open(video.get_stream_source(), "rb") as file:
        return file.read()


@pytest.mark.parametrize("number", [2, 5, 14, 25])  # the last one dies while frames are written
def test_a_job_that_died_goes_on_to_the_same_bytes(to_video, samples, kept, die_at, number, caplog):
    want = coded(to_video(samples, codec="h264"))
    assert not kept()
    die_at(number)
    with pytest.raises(Killed):
        to_video(samples, codec="h264")
    left = kept()
    assert [name.split(os.sep)[1] for name in left] == ["pixels.raw", "state.safetensors"]
    die_at(0)
    with caplog.at_level(logging.INFO):
        assert coded(to_video(samples, codec="h264")) == want
    assert ("parts of the decode were kept" in caplog.text) == (number > 6)  # 6 tiles a frame
    assert not kept()


def test_another_job_leaves_it_alone_and_time_takes_it(to_video, samples, kept, die_at, output):
    die_at(14)
    with pytest.raises(Killed):
        to_video(samples)
    left = kept()
    die_at(0)
    for other, options in ((0.5 * samples, {}), (samples, {"bits": "10"}), (samples, {"tile": 80})):
        to_video(other, **options)
        assert kept() == left
    old = time.time() - 3.1 * 86400
    for file in (output / "atlasvid" / "decode").glob("*/*"):
        os.utime(file, (old, old))
    to_video(0.5 * samples)
    assert not kept()


def test_nothing_is_kept_where_that_is_not_wanted(to_video, samples, kept, die_at):
    want = seen(to_video(samples))
    die_at(14)
    with pytest.raises(Killed):
        to_video(samples, keep_decoded=False)
    die_at(0)
    assert not kept()
    assert torch.equal(seen(to_video(samples, keep_decoded=False)), want)


def test_a_cancel_keeps_what_was_done(to_video, samples, kept, die_at):
    from comfy.model_management import InterruptProcessingException as Cancelled

    die_at(14, Cancelled)
    with pytest.raises(Cancelled):
        to_video(samples)
    assert len(kept()) == 2


@pytest.mark.parametrize("keep", [True, False])
def test_a_lack_of_memory_takes_smaller_tiles(
    to_video, samples, kept, short_of_memory, keep, caplog
):
    want = seen(to_video(samples))
    calls = []
    asked = short_of_memory(lambda side: side <= 72 or len(calls.append(side) or calls) < 2)
    got = seen(to_video(samples, tile=0, keep_decoded=keep))  # the second chunk does not fit
    assert (got.int() - want.int()).abs().max() <= 1
    assert len(got) == 9 and asked[0] == 136 and max(asked[3:]) <= 72
    assert caplog.text.count("out of memory with 1 tiles of 136 x 72 px, frames outermost") == 1
    assert not kept()


def test_images_come_through_a_lack_of_memory(nodes, vae, samples, short_of_memory):
    want = nodes.TiledVAEDecode(vae, {"samples": samples}, tile=0)
    asked = short_of_memory(lambda side: side <= 72)
    got = nodes.TiledVAEDecode(vae, {"samples": samples}, tile=0)
    assert (got - want).abs().max() < 1e-5
    assert asked[0] == 136 and max(asked[1:]) <= 72


def test_the_end_of_the_ladder_says_what_was_tried(to_video, samples, short_of_memory):
    short_of_memory(lambda side: False)
    words = "with every way.*1 tiles of 136 x 72 px.*; .*latent is safe.*lowvram"
    with pytest.raises(RuntimeError, match=words):
        to_video(samples, tile=0)


def test_a_cancel_is_no_lack_of_memory(to_video, samples, short_of_memory):
    import comfy.model_management as management

    asked = short_of_memory(lambda side: management.interrupt_current_processing() or True)
    with pytest.raises(management.InterruptProcessingException):
        to_video(samples)
    assert len(asked) == 1


@contextmanager
def files_end_at(size_bytes):
    """As on a full disk: the system takes no byte beyond."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_under_the_scratch(to_video, samples, kept):
    want = seen(to_video(samples))
    words = "decode.* could not be written to.*GB are free.*latent is safe.*queue the same job"
    with files_end_at(100_000), pytest.raises(RuntimeError, match=words):
        to_video(samples)
    assert torch.equal(seen(to_video(samples)), want)
    assert not kept()


def test_a_full_disk_under_the_video(to_video, samples, kept, die_at, caplog):
    from atlasvid_pack.nodes import host

    want = coded(to_video(samples))
    die_at(20)  # decoded: 18 parts
    with pytest.raises(Killed):
        to_video(samples)
    die_at(0)
    before, left = set(host.temporary_folder().iterdir()), kept()
    words = "temp.* could not be written to.*GB are free.*latent is safe.*queue the same job"
    with files_end_at(50_000), pytest.raises(RuntimeError, match=words):
        to_video(samples)
    assert set(host.temporary_folder().iterdir()) == before
    assert kept() == left
    with caplog.at_level(logging.INFO):
        assert coded(to_video(samples)) == want
    assert "18 of 18 parts of the decode were kept" in caplog.text


def test_a_full_disk_under_what_goes_through_the_temp_folder(nodes, vae, samples, monkeypatch):
    """Images, and the encode of an enlarged proxy, both tile by tile; then there is room again."""
    from atlasvid_pack.nodes import host_vae
    from atlasvid_pack.nodes.enlarge import enlarged

    large = {"width": 128, "height": 128, "frames": 17, "proxy_height": 64}
    proxy, plan = {"samples": torch.randn(1, 16, 3, 8, 8)}, nodes.Plan(**(SIZES | large))
    works = [
        lambda: nodes.TiledVAEDecode(vae, {"samples": samples}, tile=0),
        lambda: enlarged(proxy, plan, vae, "DetailJointSampler"),
    ]
    want = [work() for work in works]
    monkeypatch.setattr(host_vae, "CPU_DECODE_BYTES", 1)
    for work, whole in zip(works, want, strict=True):
        words = "temp.* could not be written to.*latent is safe.*queue the same job again.$"
        with files_end_at(20_000), pytest.raises(RuntimeError, match=words):
            work()
        assert (work() - whole).abs().max() < 1e-4


def test_an_output_folder_that_takes_nothing(to_video, samples, output, kept, caplog):
    want = seen(to_video(samples))
    (output / "atlasvid" / "decode").rmdir()
    (output / "atlasvid" / "decode").write_text("a file is in the way")
    assert torch.equal(seen(to_video(samples)), want)
    assert "keeps nothing in" in caplog.text


def test_too_little_room_for_the_scratch(to_video, samples, kept, monkeypatch, caplog):
    from atlasvid_pack.nodes import decoding

    want = seen(to_video(samples))
    monkeypatch.setattr(decoding.shutil, "disk_usage", lambda _: type("", (), {"free": 1000}))
    assert torch.equal(seen(to_video(samples)), want)
    assert "it takes 0.0 GB there, 0.0 GB are free" in caplog.text
    assert not kept()


def test_a_state_takes_the_room_that_pixels_and_others_leave(pack, tmp_path, monkeypatch):
    """Half of the one, since the next state is written beside it, and a quarter of the other."""
    from atlasvid_pack.nodes import decoding

    place = decoding.Place(tmp_path / "job", "job")
    monkeypatch.setattr(decoding.shutil, "disk_usage", lambda _: type("", (), {"free": 50_000}))
    for memory, most in ((10**9, 15_000), (40_000, 10_000)):
        monkeypatch.setattr(decoding.host_vae, "free_host_bytes", lambda memory=memory: memory)
        assert decoding._with_room(place, 20_000, "Node").most_state_bytes == most
    with place.folder.joinpath("pixels.raw").open("wb") as file:  # which this job takes again
        file.write(bytes(10_000))
        file.truncate(10**6)  # the rest is a hole, and takes nothing
    there = decoding.bytes_on_disk(place.folder / "pixels.raw")
    assert there < 100_000 or not hasattr(os.stat(place.folder), "st_blocks")
    assert decoding._with_room(place, 50_000 + there, "Node").most_state_bytes == 0
    assert decoding._with_room(place, 50_001 + there, "Node") is None
