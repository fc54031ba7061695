"""TiledVAEDecode and TiledVAEDecodeToVideo against the stock VAEDecode, on a tiny random VAE."""

import gc
import os
from types import SimpleNamespace

import av
import pytest
import torch

from atlasvid_core.units import Grid
from atlasvid_core.wan.vae import WanVAE


@pytest.fixture(scope="session")
def vae(host):
    import comfy.sd

    torch.manual_seed(0)
    return comfy.sd.VAE(sd=WanVAE(dim=8).state_dict())


@pytest.fixture
def to_video(nodes, vae):
    def call(samples, **options):
        chosen = {"fps": 16.0, "codec": "ffv1", "bits": "8", "crf": 18, "tile": 0} | options
        return nodes.TiledVAEDecodeToVideo(vae, {"samples": samples}, **chosen)

    return call


def stock_decode(vae, samples):
    import nodes as host_nodes

    return host_nodes.VAEDecode().decode(vae, {"samples": samples})[0]


@pytest.mark.parametrize("tile", [0, 64])
@pytest.mark.parametrize("size", [(1, 4, 6), (3, 9, 17)])
def test_equals_the_stock_decode(nodes, vae, size, tile):
    samples = torch.randn(1, 16, *size)
    want = stock_decode(vae, samples)
    got = nodes.TiledVAEDecode(vae, {"samples": samples}, tile=tile)
    assert got.shape == want.shape == (4 * size[0] - 3, 8 * size[1], 8 * size[2], 3)
    assert got.dtype == want.dtype
    assert got.min() >= 0 and got.max() <= 1
    assert (got - want).abs().max() < 1e-5


@pytest.mark.parametrize("bits", ["8", "10"])
def test_the_video_is_the_stock_decode_rounded(to_video, vae, bits):
    samples = torch.randn(1, 16, 3, 9, 17)
    want, top = stock_decode(vae, samples), 2 ** int(bits) - 1
    video = to_video(samples, bits=bits, tile=64)
    seen = coded_frames(video, "rgb24" if bits == "8" else "gbrp10le")
    assert (seen - want * top).abs().max() < 0.51


def coded_frames(video, form):
    with av.open(video.get_stream_source()) as file:
        seen = [torch.from_numpy(f.to_ndarray(format=form)) for f in file.decode(video=0)]
    return torch.stack(seen).float()


def test_tile_by_tile_gives_the_same_video(to_video, monkeypatch):
    """Too little memory for the past of a whole frame."""
    from atlasvid_pack.nodes import host_vae as adapter

    samples = torch.randn(1, 16, 2, 20, 24)
    one = coded_frames(to_video(samples), "rgb24")
    monkeypatch.setattr(adapter, "CPU_DECODE_BYTES", 8 * 10**6)
    plans, plan_tiles = [], adapter.plan_tiles
    monkeypatch.setattr(adapter, "plan_tiles", lambda *a: plans.append(plan_tiles(*a)) or plans[0])
    other = coded_frames(to_video(samples), "rgb24")
    assert plans[0].order == "tiles" and plans[0].count > 1
    assert (one - other).abs().max() <= 1


@pytest.mark.parametrize(
    "codec, bits", [("h264", "8"), ("h265", "10"), ("av1", "10"), ("prores", "10"), ("ffv1", "8")]
)
def test_save_video_keeps_the_coded_frames(to_video, tmp_path, monkeypatch, codec, bits):
    """The stock SaveVideo's call, with its names, and decoding forbidden."""
    from comfy_api.latest import InputImpl

    video = to_video(torch.randn(1, 16, 2, 8, 8), codec=codec, bits=bits, fps=24.0)
    assert video.get_dimensions() == (64, 64)

    def loads(*_):
        raise AssertionError("SaveVideo loads the whole video")

    monkeypatch.setattr(InputImpl.VideoFromFile, "get_components", loads)
    monkeypatch.setattr(InputImpl.VideoFromFile, "get_components_internal", loads)
    out = tmp_path / "video_00001_.mp4"
    video.save_to(str(out), format="auto", codec="auto", metadata={"prompt": {"1": {}}})
    with av.open(video.get_stream_source()) as a, av.open(str(out)) as b:
        assert b.metadata["prompt"] == '{"1": {}}'
        first, second = ([bytes(p) for p in f.demux(video=0) if p.size] for f in (a, b))
    assert first == second and len(first) == 5
    again = tmp_path / "as_newer_hosts_call_it.mp4"
    asked = {"metadata": {"prompt": {"1": {}}}, "crf": None, "color_space": None}
    video.save_to(str(again), format="auto", codec="auto", **asked)
    assert again.read_bytes() == out.read_bytes()
    with av.open(str(out)) as file:
        assert file.streams.video[0].average_rate == 24
        assert len(list(file.decode(video=0))) == 5


@pytest.mark.parametrize("codec", ["auto", "h264"])  # copied, and converted by the host
def test_a_number_is_taken_while_its_video_is_saved(to_video, output, monkeypatch, codec):
    """So that another server with the same folder takes the next one."""
    import folder_paths
    from comfy_api.latest import InputImpl

    monkeypatch.setattr(folder_paths, "output_directory", str(output))
    video, numbers = to_video(torch.randn(1, 16, 2, 8, 8)), []

    def next_number():
        numbers.append(folder_paths.get_save_image_path("video/a", str(output))[2])

    from atlasvid_pack.nodes import finished_video

    progress = type("", (), {"reach": lambda *_: next_number()})
    monkeypatch.setattr(finished_video, "phase", lambda *_: progress())
    save = InputImpl.VideoFromFile.save_to

    def told(*args, **options):
        next_number()
        save(*args, **options)

    monkeypatch.setattr(InputImpl.VideoFromFile, "save_to", told)
    folder = output / "video"
    folder.mkdir(parents=True)
    video.save_to(str(folder / "a_00001_.mp4"), codec=codec)
    assert set(numbers) == {2}
    assert [path.name for path in folder.iterdir()] == ["a_00001_.mp4"]


def test_videos_that_nobody_holds_go_once_they_take_too_much(to_video, monkeypatch):
    """A server that makes many, each saved elsewhere, does not keep them all."""
    from atlasvid_pack.nodes import temporary_video
    from comfy_api.latest import InputImpl

    def made():
        return to_video(torch.randn(1, 16, 2, 8, 8))

    gc.collect()
    temporary_video._left.clear()
    held, derived = made(), InputImpl.VideoFromFile(made().get_stream_source())  # as a part of it
    size = os.path.getsize(held.get_stream_source())
    monkeypatch.setattr(temporary_video, "KEEP_BYTES", int(2.5 * size))
    paths = [str(made().get_stream_source()) for _ in range(5)]
    gc.collect()
    assert [os.path.exists(path) for path in paths] == [False] * 3 + [True] * 2  # a page's
    assert held.get_dimensions() == derived.get_dimensions() == (64, 64)


def test_a_cancel_leaves_no_file(to_video, monkeypatch):
    from atlasvid_pack.nodes import host
    from atlasvid_pack.nodes import host_vae as adapter
    from comfy.model_management import InterruptProcessingException as Cancelled

    before = set(host.temporary_folder().iterdir())
    for at in (1, 4, 6):
        calls = []

        def cancelled(calls=calls, at=at):
            calls.append(1)
            if len(calls) == at:
                raise Cancelled

        management = adapter.management
        monkeypatch.setattr(management, "throw_exception_if_processing_interrupted", cancelled)
        with pytest.raises(Cancelled):
            to_video(torch.randn(1, 16, 2, 4, 4), codec="h264")
        assert len(calls) == at
    assert set(host.temporary_folder().iterdir()) == before


def test_refused(nodes, vae, to_video, monkeypatch):
    from atlasvid_pack.nodes import host_vae as adapter

    samples = {"samples": torch.zeros(1, 16, 1, 4, 4)}
    other = SimpleNamespace(
        first_stage_model=torch.nn.Identity(), output_device=torch.device("cpu")
    )
    with pytest.raises(ValueError, match=r"kind Identity.*Wan2.1 VAE only.*Load"):
        nodes.TiledVAEDecode(other, samples, tile=0)
    for tile in (32, 100):
        with pytest.raises(ValueError, match=f"tile is {tile}; it must be 0 .* or a multiple of 8"):
            nodes.TiledVAEDecode(vae, samples, tile=tile)
    with pytest.raises(ValueError, match="prores holds 10 bits a channel, not 8"):
        to_video(samples["samples"], codec="prores")
    long = {"samples": torch.zeros(1).expand(1, 16, 81, 270, 480)}
    monkeypatch.setattr(adapter, "free_image_bytes", lambda _: 20 * 10**9)
    words = "321 frames of 3840 x 2160 are an IMAGE of 31.95 GB, 20.00 GB .*TiledVAEDecodeToVideo"
    with pytest.raises(ValueError, match=words):
        nodes.TiledVAEDecode(vae, long, tile=0)
    monkeypatch.setattr(adapter.management, "get_free_memory", lambda _: 10**6)
    with pytest.raises(ValueError, match=r"needs .* GB, 0.00 GB are free.*Even its smallest"):
        to_video(torch.zeros(1, 16, 1, 40, 40))
    with pytest.raises(ValueError, match=r"needs .* GB, 0.00 GB are free.*Set tile to 0"):
        to_video(torch.zeros(1, 16, 1, 40, 40), tile=320)
    samples["samples"][0, 0, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match="latent to decode holds 1 values"):
        to_video(samples["samples"])


@pytest.mark.parametrize("free_mb", [5, 110, 200, 500, 4000])
def test_what_is_free_decides_the_tiles_and_too_little_is_refused(nodes, vae, monkeypatch, free_mb):
    """Whatever is free, a plan that is taken fits, with the holes that a CPU process holds."""
    from atlasvid_pack.nodes import host_vae

    monkeypatch.setattr(host_vae.management, "get_free_memory", lambda *_: free_mb * 10**6)
    samples = {"samples": torch.zeros(1, 16, 2, 60, 60)}
    if free_mb == 5:
        with pytest.raises(ValueError, match=r"needs 0\.\d+ GB, 0\.01 GB are free.*smallest tiles"):
            host_vae.load_vae(vae, samples["samples"], "test")
        with pytest.raises(ValueError, match="encoding needs"):
            host_vae.load_to_encode(vae, Grid(2, 60, 60), "test")
        return
    _, _, decode = host_vae.load_vae(vae, samples["samples"], "test")
    _, encode = host_vae.load_to_encode(vae, Grid(2, 60, 60), "test")
    for plan in (decode, encode):
        assert plan.peak_bytes < plan.held_bytes(True) <= free_mb * 10**6
