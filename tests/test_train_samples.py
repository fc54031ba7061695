"""Sample videos of a run: decoded in bounded memory, and never a run's end."""

from dataclasses import replace

import pytest
import torch

from atlasvid_core.tiny.words import FILES
from atlasvid_core.train import loop, report
from atlasvid_core.wan.io import load_vae
from atlasvid_core.wan.latents import from_model_space

from .memory_common import Largest
from .train_common import config_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("train")


def test_a_sample_that_cannot_be_made_is_told_of_and_ends_no_run(folder, tmp_path, capsys):
    log = {"sample": 1, "sample_steps": 1, "sample_count": 1}
    config = config_of(folder, out=tmp_path, steps=1, log=log)
    blocked = tmp_path / "samples"
    blocked.touch()  # no folder can be made of this name
    assert loop.run(config) == 0
    assert capsys.readouterr().out.count("no sample videos (FileExistsError") == 2
    blocked.unlink()
    run = loop.Run(replace(config, train=replace(config.train, steps=2)))
    average = {name: value.clone() for name, value in run.ema.average.items()}
    weights = {name: p.detach().clone() for name, p in run.weights.items()}
    run.student.switch = None  # a fault of the program's own is no such thing
    with pytest.raises(AttributeError):
        run.sample()
    assert all(torch.equal(value, average[name]) for name, value in run.ema.average.items())
    assert all(torch.equal(p, weights[name]) for name, p in run.weights.items())


def test_the_memory_of_a_samples_decode_does_not_grow_with_the_video(tmp_path, monkeypatch):
    vae = load_vae(FILES / "vae" / "atlasvid_tiny_vae.safetensors")
    latent = torch.randn(16, 5, 8, 16, generator=torch.Generator().manual_seed(0))
    most = []
    for frames in (2, 5):
        with Largest() as largest:
            assert len(list(report.decoded(vae, latent[:, :frames], tmp_path))) == 4 * frames - 3
        most.append(largest.bytes[torch.float32])
    assert most[0] == most[1]
    whole = list(report.decoded(vae, latent, tmp_path))
    monkeypatch.setattr(report, "DECODE_BYTES", 0)  # as small tiles as there are
    with Largest() as largest:
        tiles = list(report.decoded(vae, latent, tmp_path))
    assert largest.bytes[torch.float32] < most[1]
    assert (torch.stack(whole).int() - torch.stack(tiles).int()).abs().max() <= 1
    want = ((vae.decode(from_model_space(latent[None]))[0].clamp(-1, 1) + 1) * 127.5).round()
    assert (torch.stack(whole) - want.permute(1, 2, 3, 0)).abs().max() <= 1
