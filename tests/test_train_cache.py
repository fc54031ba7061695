"""From videos to shards: geometry of clips, resumption, processes, files, buckets, captions."""

import dataclasses
import random
import weakref

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from atlasvid_core.train import cache, sources, text
from atlasvid_core.train.clips import Clips
from atlasvid_core.train.config import from_values, load
from atlasvid_core.train.report import write_video
from atlasvid_core.train.views import View, cut
from atlasvid_core.units import Grid, tok_from_lat

from .conftest import ROOT
from .train_common import CPU, VIDEOS, cached, config_of, values
from .train_common import sources as world

PRESETS = sorted((ROOT / "atlasvid_core" / "train" / "presets").glob("*.toml"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("train")


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_cuts_of_every_preset_fit_their_video_and_their_picture(path):
    config = load(path)
    data = config.data
    for seed in range(40):
        chosen = cut(config.stage, data, 400, random.Random(seed), random.Random(seed + 99))
        for view in (chosen.clip, *chosen.proxies):
            assert 0 <= view.start <= view.last < 400
            top, left, height, width = view.box_px
            assert 0 <= top <= view.whole_px[0] - height
            assert 0 <= left <= view.whole_px[1] - width
        assert chosen.clip.lat == data.lat
        assert chosen.r_t in data.r_t
        end = [o + n for o, n in zip(chosen.offset_tok, tok_from_lat(data.lat), strict=True)]
        assert all(e <= n for e, n in zip(end, chosen.whole_tok, strict=True))
        for proxy in chosen.proxies:
            assert proxy.stride == chosen.r_t
            low, high = data.proxy_height
            assert low <= proxy.whole_px[0] <= high
            first = chosen.clip.start - 4 * chosen.offset_tok.t
            assert proxy.start == first
            assert proxy.last <= first + 4 * (chosen.whole_tok.t - 1)


def test_a_video_that_is_too_short_gives_no_clip():
    config = load(next(p for p in PRESETS if p.stem == "wan_1.3b_stage1"))
    assert cut("stage1", config.data, 320, random.Random(0), random.Random(0)) is None
    assert cut("stage1", config.data, 321, random.Random(0), random.Random(0)).clip.start == 0


def tensors(folder):
    found = {}
    for path in sorted(folder.glob("shard-*.safetensors")):
        with safe_open(path, "pt") as file:
            found |= {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    return found


def test_two_processes_and_an_interrupted_run_make_the_same_cache(folder):
    config = config_of(folder)
    want = tensors(folder / "cache-guide")
    told = values(folder)
    told["data"]["cache"] = str(folder / "other")
    other = from_values(told)
    for rank in (1, 0):
        cached(other, rank=rank, processes=2)
    shards = sorted((folder / "other").glob("shard-*"))
    assert len(shards) == 3
    shards[1].unlink()
    kept = shards[0].stat().st_mtime_ns
    assert len(cached(other)) == 1  # one shard was made
    assert shards[0].stat().st_mtime_ns == kept
    got = tensors(folder / "other")
    assert got.keys() == want.keys()
    assert all(torch.equal(got[name], want[name]) for name in want)
    assert not list((folder / "other").rglob("*.part"))
    changed = dataclasses.replace(config, data=dataclasses.replace(config.data, fps=8.0))
    with pytest.raises(ValueError, match="made with other settings"):
        cached(changed)
    with pytest.raises(ValueError, match="made with other settings"):
        Clips(changed)


def test_a_clip_is_what_its_box_of_the_video_encodes_to(folder):
    config = config_of(folder)
    clips = Clips(config)
    encode = cache.vae_encoder(config, CPU)
    clip = clips.training[3]
    chosen = cache.cut_of(config, clip.number, 17)
    assert clip.offset_tok == chosen.offset_tok
    video = world()[clip.video]
    for name, view in (("clip", chosen.clip), ("proxy0", chosen.proxies[0])):
        (want,) = encode([video.frames(view)])
        assert want.shape[1:] == view.lat
        torch.testing.assert_close(clips._tensor(clip, name), want, rtol=1e-3, atol=1e-3)


def test_an_epoch_shows_every_training_clip_once_and_no_held_out_one(folder):
    config = config_of(folder)
    clips = Clips(config)
    assert {clip.video for clip in clips.held_out} == {VIDEOS - 2, VIDEOS - 1}
    calls = []
    clips._load = lambda chosen, *_: calls.append([clip.number for clip in chosen])
    per_epoch = 4  # groups of two clips that share their geometry
    assert clips.per_epoch == per_epoch
    for number in range(2 * per_epoch):
        clips.batch(number)
    first, second = calls[:per_epoch], calls[per_epoch:]
    for epoch in (first, second):
        assert sorted(sum(epoch, [])) == [clip.number for clip in clips.training]
    assert first != second
    of = {clip.number: clip.bucket for clip in clips.training}
    assert all(len({of[number] for number in batch}) == 1 for batch in calls)


def test_a_batch_is_a_function_of_its_number(folder):
    one, other = Clips(config_of(folder)), Clips(config_of(folder))
    _ = other.batch(0)
    a, b = one.batch(5), other.batch(5)
    for name in ("x0", "noise", "sigma_B", "text", "proxy"):
        assert torch.equal(getattr(a, name), getattr(b, name))
    assert not torch.equal(a.noise, one.batch(6).noise)
    assert a.clip.lat == Grid(2, 6, 6)


def ramp_video(path, frames=30, fps=8.0):
    """Frame i is grey 8 i on the left half, white on the right."""
    grey = (8 * torch.arange(frames)).view(-1, 1, 1, 1).expand(-1, 64, 128, 3).clone()
    grey[:, :, 64:] = 255
    write_video(path, grey.to(torch.uint8), fps)


def test_a_file_gives_frames_boxes_and_rates(tmp_path):
    ramp_video(tmp_path / "a.mp4")
    (tmp_path / "a.txt").write_text("a red ball crosses right\n")
    (found,) = sources.find_videos(str(tmp_path), fps=4.0)
    assert (found.caption, found.length) == ("a red ball crosses right", 15)
    view = View(2, 3, 3, (32, 64), (0, 0, 32, 32), 2.0)
    video = (sources.stacked(found.frames(view)) + 1) * 127.5
    assert video.shape == (3, 3, 32, 32)
    grey = video[:, :, 8:24, 4:28].mean(dim=(0, 2, 3))
    assert torch.allclose(grey, torch.tensor([32.0, 80.0, 128.0]), atol=4)  # frames 4, 10, 16
    right = found.frames(dataclasses.replace(view, box_px=(0, 36, 32, 28)))
    assert sources.stacked(right).mean() > 0.9
    centre = found.frames(View(0, 1, 1, (32, 32), (0, 0, 32, 32), 1.0))  # cut around it
    square = sources.stacked(centre)
    assert square[..., :12].mean() < -0.9
    assert square[..., -12:].mean() > 0.9


def test_a_jsonl_of_videos_and_captions(tmp_path):
    ramp_video(tmp_path / "v" / "a.mp4", frames=5)
    rows = tmp_path / "videos.jsonl"
    rows.write_text('{"video": "v/a.mp4", "caption": "a ball"}\n')
    (found,) = sources.find_videos(str(rows), fps=8.0)
    assert (found.caption, found.length) == ("a ball", 5)
    rows.write_text('\ufeff{"video": "v/a.mp4", "caption": "a ball"}\r\n\r\n', "utf-8")
    assert sources.find_videos(str(rows), fps=8.0) == [found]
    with pytest.raises(ValueError, match="has no caption: write it into a.txt"):
        sources.find_videos(str(tmp_path), fps=8.0)
    with pytest.raises(ValueError, match="must be a folder of videos or a JSONL"):
        sources.find_videos(str(tmp_path / "none"), fps=8.0)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ('{"video": "b.mp4"}', "is without video or caption: it has no caption"),
        ('{"video": "b.mp4", "caption": "a ball"', "is no JSON"),
        ('["b.mp4", "a ball"]', "is no table"),
        ('{"video": "b.mp4", "caption": null}', "has the caption null, no text"),
        ('{"video": 7, "caption": "a ball"}', "has the video 7, no text"),
    ],
)
def test_a_line_of_a_jsonl_that_is_wrong_is_named(tmp_path, row, said):
    rows = tmp_path / "videos.jsonl"
    rows.write_text(f'{{"video": "a.mp4", "caption": "a ball"}}\n\n{row}\n')
    with pytest.raises(ValueError, match=rf"videos.jsonl, line 3, {said}.*Write {{\"video\": "):
        sources.find_videos(str(rows), fps=8.0)


def test_captions_that_are_no_utf_8_are_named(tmp_path):
    (tmp_path / "a.mp4").touch()
    (tmp_path / "a.txt").write_bytes("ein gr\xfcner Ball".encode("latin-1"))
    with pytest.raises(ValueError, match="a.txt is no UTF-8"):
        sources.find_videos(str(tmp_path), fps=8.0)


def test_a_clip_is_let_go_of_while_it_is_encoded(folder):
    """However long it is, the frames in memory stay few."""
    encode, alive, most = cache.vae_encoder(config_of(folder), CPU), 0, 0

    def gone():
        nonlocal alive
        alive -= 1

    def frames(count):
        nonlocal alive, most
        for shade in range(count):
            frame = torch.full((16, 16, 3), shade, dtype=torch.uint8)
            weakref.finalize(frame, gone)
            alive += 1
            most = max(most, alive)
            yield frame
            del frame

    latent = encode([frames(41)])
    assert latent.shape[2] == 11
    assert most <= 6
    want = encode([frames(41), frames(41)])[:1]  # whole
    torch.testing.assert_close(latent, want, rtol=1e-4, atol=1e-4)


def test_text_from_a_file_of_embeddings(tmp_path):
    file = tmp_path / "text.safetensors"
    save_file({"a ball": torch.ones(1, 3, 4096), "": torch.zeros(1, 4096)}, file)
    data = dataclasses.replace(from_values(values(tmp_path)).data, text=str(file))
    encode = text.text_encoder(data, CPU)
    assert torch.equal(encode("a ball"), torch.ones(3, 4096))
    with pytest.raises(ValueError, match="no embedding of 'a box'"):
        encode("a box")
    with pytest.raises(ValueError, match="data.text is 'clip'"):
        text.text_encoder(dataclasses.replace(data, text="clip"), CPU)
    with pytest.raises(ValueError, match="data.text_model is ''"):
        text.text_encoder(dataclasses.replace(data, text="umt5"), CPU)
