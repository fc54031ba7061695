"""The best weights of a run, by the loss of clips held out: what other clips are, and what not."""

import hashlib
from dataclasses import replace

import pytest

from atlasvid_core.train import loop
from atlasvid_core.train.listing import marks_of
from atlasvid_core.train.resume import Position

from .train_common import config_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("train")


def test_the_best_of_other_held_out_clips_is_kept_and_compared_with_no_more(
    folder, tmp_path, capsys
):
    log = {"validate": 2, "save": 2}
    first = config_of(folder, out=tmp_path, steps=2, lr=3e-2, ema=0.0, log=log)
    assert loop.run(first) == 0
    best = (tmp_path / "best" / "detail.safetensors").read_bytes()
    assert loop.run(config_of(folder, out=tmp_path, steps=4, lr=0.0, log=log)) == 0
    assert "other clips" not in capsys.readouterr().out
    assert {p.name for p in tmp_path.glob("best*")} == {"best"}

    other = config_of(folder, out=tmp_path, steps=6, lr=3e-2, log=log)
    other = replace(other, data=replace(other.data, held_out=3))
    run = loop.Run(other)
    assert run.position.best == float("inf")
    run.train()
    assert "other clips are held out than before" in capsys.readouterr().out
    assert (tmp_path / "best" / "detail.safetensors").is_file()
    kept = list(tmp_path.glob("best-*"))
    assert [(p / "detail.safetensors").read_bytes() for p in kept] == [best]


def test_the_best_of_an_earlier_version_is_gone_on_with(folder, tmp_path, capsys):
    config = config_of(folder, out=tmp_path)
    config = replace(config, data=replace(config.data, videos="here"))
    run = loop.Run(config)
    told = [clip.number for clip in run.clips.held_out], config.train.batch
    earlier = hashlib.sha256(f"{marks_of(config)[1]} {told}".encode()).hexdigest()[:16]
    now = run.position.held_out
    assert earlier != now
    run.position = Position(step=1, best=0.5, held_out=earlier)
    run.save()
    (tmp_path / "best").mkdir()
    assert loop.Run(config).position == replace(run.position, held_out=now)
    assert "other clips" not in capsys.readouterr().out
    assert (tmp_path / "best").exists()
