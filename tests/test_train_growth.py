"""A cache and the videos that it was made of: what may be added, and what may not change."""

import dataclasses
import json
from dataclasses import dataclass

import pytest
import torch

from atlasvid_core.train import cache, listing
from atlasvid_core.train.clips import Clips
from atlasvid_core.train.config import from_values
from atlasvid_core.train.sources import find_videos

from .source_files import write_shades
from .train_common import cached, values


@dataclass(frozen=True)
class Still:
    """A grey video: named, captioned and as long as a test says."""

    name: str
    caption: str = "a ball"
    length: int = 17
    mark: str = "1"

    def frames(self, view):
        return iter(torch.zeros(view.frames, *view.box_px[2:], 3))


def stills(*names):
    return [Still(name, f"caption of {name}") for name in names]


OLD = stills(*(f"m{i}" for i in range(10)))
BEFORE, AFTER = stills("a0", "a1"), stills("z0", "z1")


def encode_video(videos):
    x = torch.stack([torch.stack(list(frames)) for frames in videos])
    return torch.zeros(len(x), 16, (x.shape[1] + 3) // 4, x.shape[2] // 8, x.shape[3] // 8)


def built(config, videos, **options):
    """-> what was said, a line a shard."""
    said = []
    cache.build(
        config, videos, encode_video, lambda caption: torch.zeros(2, 4096), say=said.append,
        **options,
    )  # fmt: skip
    return said


@pytest.fixture
def config(tmp_path):
    return config_with(tmp_path)


def config_with(folder, **data):
    told = values(folder)
    told["data"] |= {"held_out": 3, "group": 1} | data
    return from_values(told)


def clips_of(config):
    clips = Clips(config)
    return {clip.number: clip for clip in clips.training}, {c.number: c for c in clips.held_out}


def names_of(clips):
    return {clip.caption.removeprefix("caption of ") for clip in clips.values()}


def files_of(config):
    return {p: p.stat().st_mtime_ns for p in sorted(cache.Path(config.data.cache).glob("shard-*"))}


@pytest.mark.parametrize("passes", [1, 3])
def test_new_videos_come_behind_the_old_wherever_their_names_sort(tmp_path, passes):
    config = config_with(tmp_path, passes=passes)
    built(config, OLD)
    train, held = clips_of(config)
    assert names_of(held) == {"m7", "m8", "m9"}
    files = files_of(config)
    said = built(config, [*BEFORE, *OLD, *AFTER])
    assert len(said) == len(files_of(config)) - len(files) == passes  # 4 videos, shards of 4
    assert files_of(config).items() >= files.items()
    now_train, now_held = clips_of(config)
    every = now_train | now_held
    assert (train | held).items() <= every.items()  # same numbers, same geometry
    assert sorted(every) == list(range(14 * passes))
    assert names_of(every) == {v.name for v in (*BEFORE, *OLD, *AFTER)}
    assert names_of(now_held) == {"a1", "z0", "z1"}
    assert not names_of(now_train) & names_of(now_held)
    assert names_of(now_train) > names_of(train)  # what was trained on is never held out
    assert built(config, [*AFTER, *OLD, *BEFORE]) == []  # in any order


def test_processes_and_interruptions_make_the_same_of_a_grown_cache(tmp_path):
    one, other = config_with(tmp_path), config_with(tmp_path, cache=str(tmp_path / "other"))
    for config in (one, other):
        built(config, OLD)
    built(one, [*OLD, *AFTER, *BEFORE])
    built(other, [*OLD, *AFTER, *BEFORE], rank=0, processes=2)
    with pytest.raises(ValueError, match=r"is not finished: 3 of its 4 shards .*Run `cache`"):
        Clips(other)
    built(other, [*OLD, *AFTER, *BEFORE], rank=1, processes=2)
    assert clips_of(one) == clips_of(other)


def test_a_half_made_cache_does_not_train(config):
    built(config, OLD)
    list(files_of(config))[1].unlink()
    with pytest.raises(ValueError, match=r"is not finished: 2 of its 3 shards"):
        Clips(config)
    built(config, OLD)
    assert len(Clips(config).training) == 7


@pytest.mark.parametrize(
    ("videos", "said"),
    [
        (OLD[1:], "holds clips of m0, which is gone. Restore it as it was, or set data.cache"),
        (OLD[3:], r"holds clips of m0, which is gone \(and 2 more\)"),
        ([Still("m0", "another"), *OLD[1:]], "holds clips of m0, which has another caption"),
        ([dataclasses.replace(OLD[0], mark="2"), *OLD[1:]], "clips of m0, which was changed"),
    ],
)
def test_what_clips_were_made_of_may_not_change(config, videos, said):
    built(config, OLD)
    files, told = files_of(config), (cache.Path(config.data.cache) / "cache.json").read_text()
    with pytest.raises(ValueError, match=said):
        built(config, [*videos, *AFTER])
    assert files_of(config) == files
    assert (cache.Path(config.data.cache) / "cache.json").read_text() == told
    assert built(config, OLD) == []


def test_a_video_that_cannot_be_read_may_be_replaced_or_taken_out(config):
    class Broken(Still):
        def frames(self, view):
            raise ValueError("cannot be read")

    broken = Broken("m5", "caption of m5")
    for now in ([*OLD[:5], *OLD[6:]], [*OLD[:5], dataclasses.replace(OLD[5], mark="2"), *OLD[6:]]):
        fresh = dataclasses.replace(
            config, data=dataclasses.replace(config.data, cache=f"{config.data.cache}{len(now)}")
        )
        with pytest.raises(ValueError, match="cannot be read"):
            built(fresh, [*OLD[:5], broken, *OLD[6:]])
        assert len(files_of(fresh)) == 1
        built(fresh, now)
        train, held = clips_of(fresh)
        assert names_of(train | held) == {video.name for video in now}
        assert len(train | held) == len(now)
        assert not names_of(train) & names_of(held)


@pytest.mark.parametrize("changed", [True, False], ids=["converted", "taken out"])
@pytest.mark.parametrize("twice", ["by passes", "by rows"])
def test_a_video_that_cannot_be_read_in_the_middle_keeps_its_clips(tmp_path, changed, twice):
    config = config_with(tmp_path, passes=2 if twice == "by passes" else 1)
    again = [] if twice == "by passes" else [Still("m1", "m1 told anew")]
    built(config, [*OLD, *again])
    for path in list(files_of(config))[2:]:  # the second clip of m1, or its second row, is in one
        path.unlink()
    before = {c.number: c for path in files_of(config) for c in cache.clips_in(path)}
    now = [dataclasses.replace(row, mark="2") for row in (OLD[1], *again)] if changed else []
    rest = [video for video in OLD if video.name != "m1"]
    said = built(config, [*rest, *now])
    assert [line for line in said if "shard" not in line] == [
        "cache: m1 is gone or was changed. Its clips of before stay, no more are made of it as it "
        "was"
    ]
    train, held = clips_of(config)
    every = train | held
    assert before.items() <= every.items()
    of_m1 = [clip for clip in every.values() if "m1" in clip.caption]
    assert len(of_m1) == 1 + len(now) * config.data.passes
    assert {clip.video for clip in of_m1} == {1}  # new rows, too: all trained on or all held out
    assert len(every) == len(rest) * config.data.passes + len(of_m1)
    assert built(config, [*rest, *now]) == []
    with pytest.raises(ValueError, match="holds clips of m2, which is gone"):
        built(config, [video for video in (*rest, *now) if video.name != "m2"])


def test_where_most_videos_are_gone_nothing_is_given_up(tmp_path):
    """It may be another folder, or a disk that is not there."""
    config = config_with(tmp_path, passes=2)
    built(config, OLD)
    list(files_of(config))[-1].unlink()
    with pytest.raises(ValueError, match="holds clips of .*, which is gone"):
        built(config, [*OLD[:4], *stills("other")])
    assert len(built(config, OLD)) == 1


def test_folders_may_be_moved_and_caches_of_before_are_taken(tmp_path):
    config = config_with(tmp_path, videos="here", text_model="here/umt5")
    built(config, OLD)
    list(files_of(config))[-1].unlink()
    place = cache.Path(config.data.cache) / "cache.json"
    told = json.loads(place.read_text())
    _, earlier = listing.marks_of(config)
    place.write_text(json.dumps(told | {"fingerprint": earlier}))
    assert len(built(config, OLD)) == 1
    place.write_text(json.dumps(told | {"fingerprint": earlier}))
    assert len(Clips(config).training) == 7
    assert built(config, OLD) == []
    moved = config_with(tmp_path, videos="/there", text_model="/there/umt5")
    assert built(moved, OLD) == []
    assert clips_of(moved) == clips_of(config)
    with pytest.raises(ValueError, match="made with other settings"):
        built(config_with(tmp_path, videos="here", suffix=" at dawn"), OLD)


def test_rows_of_one_file_are_all_held_out_or_all_trained_on(config):
    again = [Still("m2", f"m2 told anew, {i}") for i in range(4)]
    built(config, [*OLD, *again])
    train, held = clips_of(config)
    assert {c.video for c in train.values()}.isdisjoint(c.video for c in held.values())
    assert sum("m2" in c.caption for c in train.values()) == 5
    assert names_of(held) == {"m7", "m8", "m9"}
    built(config, [*OLD, *again, Still("m9", "m9 told anew"), *AFTER])
    train, held = clips_of(config)
    assert {c.video for c in train.values()}.isdisjoint(c.video for c in held.values())


def test_held_out_are_videos_whatever_rows_they_have(config):
    again = [Still(video.name, f"{video.name} anew") for video in OLD]
    built(config, [row for pair in zip(OLD, again, strict=True) for row in pair])
    train, held = clips_of(config)
    assert {clip.caption.split()[-1] for clip in held.values()} == {"m7", "m8", "m9", "anew"}
    assert (len(train), len(held)) == (14, 6)
    every = dataclasses.replace(config, data=dataclasses.replace(config.data, held_out=0))
    assert clips_of(every) == (train | held, {})


def without_list(config):
    """A cache as it was before lists were kept."""
    path = cache.Path(config.data.cache) / "cache.json"
    path.write_text(json.dumps({"fingerprint": json.loads(path.read_text())["fingerprint"]}))


def test_a_cache_without_a_list_trains_and_is_not_gone_on_with(config):
    built(config, [*OLD, Still("short", length=2)])
    before = clips_of(config)
    without_list(config)
    assert clips_of(config) == before
    assert built(config, [*OLD, Still("short", length=2)]) == []  # nothing is asked of it
    renamed = Still("m0", "caption of m0 now")
    for videos in (
        OLD[:8],
        [*OLD, *AFTER],
        [*BEFORE, *OLD],
        [renamed, *OLD[1:]],
        [*OLD, *stills("n")],
    ):
        with pytest.raises(ValueError, match="no list of its videos.*trained on as it is, but not"):
            built(config, videos)
    assert clips_of(config) == before
    list(files_of(config))[2].unlink()
    with pytest.raises(ValueError, match="not gone on with: set data.cache to another folder"):
        built(config, [*OLD, Still("short", length=2)])


def test_shards_of_nobody_knows_what_are_refused(config):
    built(config, OLD)
    (cache.Path(config.data.cache) / "cache.json").unlink()
    with pytest.raises(ValueError, match="holds shards, but no cache.json"):
        built(config, OLD)


def test_numbers_are_as_they_were_before_lists_were_kept():
    """The first videos' clips: number n is of video n % videos, in shard n // size."""
    made_of = listing.Listing("", (listing.Row("a", "", "", 1),) * 5, (5,))
    found = made_of.shards(passes=3, size=4)
    assert [n for shard in found for n, _ in shard] == list(range(15))
    assert all(row == n % 5 and at == n // 4 for at, s in enumerate(found) for n, row in s)


def test_a_folder_of_files_grows_and_an_edited_caption_is_noticed(tmp_path):
    folder = tmp_path / "videos"
    folder.mkdir()

    def add(name):
        write_shades(folder / f"{name}.mkv", range(24), fps=16, size=(64, 64))
        (folder / f"{name}.txt").write_text("a red ball crosses right")

    config = config_with(tmp_path, render_height=[48, 48], held_out=1, r_t=[1], videos=str(folder))
    add("b"), add("c")
    cached(config, videos=find_videos(str(folder), 16.0))
    before = clips_of(config)
    add("a")
    assert len(cached(config, videos=find_videos(str(folder), 16.0))) == 1
    train, held = clips_of(config)
    assert (train | held).items() >= (before[0] | before[1]).items()
    assert [clip.video for clip in held.values()] == [2]
    (folder / "b.txt").write_text("a blue ball crosses right")
    with pytest.raises(ValueError, match="holds clips of b.mkv, which has another caption"):
        cached(config, videos=find_videos(str(folder), 16.0))
