"""VideoToProxy on the host's own VIDEOs, against the way through an IMAGE of all frames."""

import logging
from fractions import Fraction
from types import SimpleNamespace

import av
import pytest
import torch

from ..source_files import RATE, write_shades
from .common import SIZES

PLAN = SIZES | {"width": 96, "height": 64, "frames": 9, "r_t": 1.0}


@pytest.fixture
def plan(nodes):
    return nodes.Plan(**PLAN)


@pytest.fixture
def to_proxy(pack, tiny_vae):
    from atlasvid_pack.nodes.video_proxy import VideoToProxy

    return lambda video, plan, **options: (
        VideoToProxy.execute(video, tiny_vae, plan, **options).args
    )


@pytest.fixture
def file(tmp_path):
    path = write_shades(tmp_path / "a.mkv", range(24), size=(128, 192), tone=0.9)
    return str(path)


@pytest.fixture
def from_file(host, file):
    from comfy_api.latest import InputImpl

    return InputImpl.VideoFromFile(file)


def by_image(vae, images, plan):
    """The stock nodes' way, all frames in memory: scaled to the proxy, then VAE Encode."""
    import comfy.utils
    import nodes as host_nodes

    size = (plan.proxy_width_px, plan.proxy_height_px)
    small = comfy.utils.common_upscale(images.movedim(-1, 1), *size, "area", "disabled")
    return host_nodes.VAEEncode().encode(vae, small.movedim(1, -1))[0]["samples"]


def test_it_is_the_latent_of_the_way_through_an_image(to_proxy, from_file, plan, tiny_vae):
    images = from_file.get_components().images
    proxy, audio, fps, proxy_fps = to_proxy(from_file, plan)
    want = by_image(tiny_vae, images[:9], plan)
    off = by_image(tiny_vae, images[:9] * (254 / 255), plan)  # newer hosts' white is 254
    assert proxy["samples"].shape == (1, 16, *plan.proxy_lat) and fps == proxy_fps == 24
    error = (proxy["samples"] - want).abs().max()
    assert error < 1.5 * (off - want).abs().max()
    assert audio["sample_rate"] == RATE and audio["waveform"].shape == (1, 1, 9 * RATE // 24)


def test_a_video_of_components_is_the_same(to_proxy, from_file, file, plan):
    from comfy_api.latest import InputImpl, Types

    given = from_file.get_components()
    with av.open(file) as opened:  # newer hosts' floats are a little less than these
        bytes_ = [torch.from_numpy(f.to_ndarray(format="rgb24")) for f in opened.decode(video=0)]
    images, rate = torch.stack(bytes_) / 255, Fraction(24)
    video = InputImpl.VideoFromComponents(
        Types.VideoComponents(images=images, audio=given.audio, frame_rate=rate)
    )
    for options in ({}, {"start": 0.25}, {"rate": "plan", "start": 0.25}):
        (one, sound, fps, _), (other, heard, same, _) = (
            to_proxy(v, plan, **options) for v in (from_file, video)
        )
        assert (one["samples"] - other["samples"]).abs().max() < 1e-4
        assert fps == same == (16 if "rate" in options else 24)
        n = min(sound["waveform"].shape[-1], heard["waveform"].shape[-1])
        assert n > 1000 and torch.allclose(
            sound["waveform"][..., :n].float(), _floats(heard["waveform"])[..., :n], atol=1e-4
        )
    silent = InputImpl.VideoFromComponents(Types.VideoComponents(images=images, frame_rate=rate))
    assert to_proxy(silent, plan)[1] is None


def _floats(waveform):
    """0.3.75 gives the samples of a PCM track as the integers that they are."""
    return waveform / 2**15 if waveform.dtype == torch.int16 else waveform


def test_a_part_of_a_video_is_that_part(to_proxy, from_file, plan):
    if not hasattr(from_file, "as_trimmed"):
        pytest.skip("this host has no parts of videos")
    part = from_file.as_trimmed(0.25, 0.5)
    assert torch.equal(
        to_proxy(part, plan)[0]["samples"], to_proxy(from_file, plan, start=0.25)[0]["samples"]
    )
    with pytest.raises(ValueError, match="second 0.5 on, has 6 frames"):
        to_proxy(part, plan, start=0.25)
    with pytest.raises(ValueError, match="a part of 0.5 s.*earlier start"):
        to_proxy(part, plan, start=0.5)


def test_its_coordinates_are_those_of_the_frames_that_it_took(to_proxy, from_file, nodes, wan):
    from atlasvid_pack.nodes.enlarge import TIME_SCALE

    plan = nodes.Plan(**PLAN | {"frames": 17, "r_t": 4.0})
    proxy, _, fps, proxy_fps = to_proxy(from_file, plan)
    assert (fps, proxy_fps) == (24, 6)
    assert to_proxy(from_file, plan, rate="plan")[2:] == (16, 4)
    assert proxy[TIME_SCALE] == 4.0 and proxy["samples"].shape[2] == 2
    guide = nodes.ScaledRoPEAligner(wan, proxy, plan)
    assert guide.target_tok == plan.target_tok


def test_after_a_lack_of_memory_it_is_read_anew_and_encoded_tile_by_tile(
    to_proxy, from_file, nodes, monkeypatch, caplog
):
    from atlasvid_pack.nodes import host_vae

    plan = nodes.Plan(**PLAN | {"width": 384, "height": 256, "proxy_height": 128})
    want, asked = to_proxy(from_file, plan)[0]["samples"], []

    def short(*args, **options):
        asked.append("frames")
        list(args[1])  # it has read the video to its end
        raise torch.OutOfMemoryError("allocation on device")

    monkeypatch.setattr(host_vae.encoding, "encode_frames", short)
    with caplog.at_level(logging.WARNING):
        got = to_proxy(from_file, plan)[0]["samples"]
    assert asked and "out of memory with" in caplog.text
    assert (got - want).abs().max() < 1e-4


def test_refused_and_cancelled(to_proxy, from_file, plan, nodes, tmp_path):
    import comfy.model_management as management
    from comfy_api.latest import InputImpl

    with pytest.raises(ValueError, match=r"a\.mkv has 24 frames; the plan takes 81.* to 21"):
        to_proxy(from_file, nodes.Plan(**PLAN | {"frames": 81}))
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(ValueError, match=r"text\.mp4 can't be read as a video"):
        to_proxy(InputImpl.VideoFromFile(str(tmp_path / "text.mp4")), plan)
    management.interrupt_current_processing(True)
    with pytest.raises(management.InterruptProcessingException):
        to_proxy(from_file, plan)
    assert to_proxy(from_file, plan)[2] == 24


def test_the_kind_of_vae_is_looked_at(pack, from_file, plan):
    from atlasvid_pack.nodes.video_proxy import VideoToProxy

    other = SimpleNamespace(first_stage_model=torch.nn.Linear(1, 1))
    with pytest.raises(ValueError, match="VideoToProxy was given a VAE of the kind Linear"):
        VideoToProxy.execute(from_file, other, plan)
