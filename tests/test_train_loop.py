"""A run: it learns, goes on as if it had not stopped, survives NaN and Ctrl-C, and shares work."""

import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from accelerate.state import AcceleratorState
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from atlasvid_core import flow
from atlasvid_core.lora_metadata import from_header
from atlasvid_core.train import loop
from atlasvid_core.train.config import TrainConfig
from atlasvid_core.train.resume import Position, check_settings

from .conftest import ROOT
from .train_common import CPU, config_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("train")


@pytest.fixture
def begun(folder, tmp_path):
    """A run of one step, whose state lies in tmp_path."""
    config = config_of(folder, out=tmp_path, steps=1)
    assert loop.run(config) == 0
    return config


def state(config):
    return load_file(f"{config.out}/state.safetensors")


@pytest.mark.parametrize("stage", ["stage1", "guide"])
def test_the_held_out_loss_falls_and_the_best_is_kept(folder, tmp_path, stage, capsys):
    config = config_of(
        folder, stage, out=tmp_path, steps=12, lr=3e-2, ema=0.0,
        log={"line": 6, "validate": 6, "save": 0, "tensorboard": True, "sample": 12,
             "sample_steps": 2, "sample_count": 1},
    )  # fmt: skip
    assert loop.run(config) == 0
    said = capsys.readouterr().out
    losses = [float(line.split("loss ")[1].split()[0]) for line in said.splitlines()
              if "held-out" in line]  # fmt: skip
    assert len(losses) == 3
    assert losses[-1] < losses[0]
    assert "step 6/12, loss" in said
    assert "left" in said
    best = {"stage1": ["stage1"], "guide": ["detail", "proxy"]}[stage]
    assert sorted(p.stem for p in (tmp_path / "best").iterdir()) == best
    videos = sorted(p.name for p in (tmp_path / "samples").iterdir())
    assert videos == ["000000-sample-0.mp4", "000000-truth-0.mp4", "000012-sample-0.mp4"]
    assert any((tmp_path / "tensorboard").iterdir())


def test_a_resumed_run_ends_bit_for_bit_where_a_whole_one_does(folder, tmp_path):
    whole = config_of(folder, out=tmp_path / "whole", steps=4, empty_prompt_share=0.5)
    assert loop.run(whole) == 0
    for steps in (2, 4):
        parts = config_of(folder, out=tmp_path / "parts", steps=steps, empty_prompt_share=0.5)
        assert loop.run(parts) == 0
    want, got = state(whole), state(parts)
    assert got.keys() == want.keys()
    assert {name.split(".")[0] for name in want} == {"weight", "ema", "step", "exp_avg",
                                                     "exp_avg_sq"}  # fmt: skip
    for name in want:
        assert torch.equal(got[name], want[name]), name


def test_a_held_out_loss_that_is_no_number_is_passed_over(folder, tmp_path):
    run = loop.Run(config_of(folder, out=tmp_path, steps=3, log={"validate": 1}))
    run.position.best = float("nan")  # as earlier versions kept it
    losses, seen = iter([3.0, float("nan"), 2.0, 4.0]), []
    run.held_out_loss = lambda: next(losses)
    look = run.look

    def looked(last=False):
        look(last)
        seen.append(run.position.best)

    run.look = looked
    run.train()
    assert seen == [3.0, 3.0, 2.0, 2.0]
    with safe_open(tmp_path / "best" / "detail.safetensors", "pt") as file:
        assert from_header(file.metadata()).steps == 2


def test_batches_that_geometry_keeps_small_are_told_of(folder, tmp_path, capsys):
    for batch, said in ((2, False), (4, True)):  # clips come in groups of two
        run = loop.Run(config_of(folder, out=tmp_path / str(batch), steps=1, batch=batch))
        run.train()
        told = "holds 2.0 clips on average, not the 4 of train.batch" in capsys.readouterr().out
        assert told == said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"train": {"alpha": 64}}, "whose train.alpha was 16, here it is 64"),
        ({"train": {"shift": 3.0}}, "whose train.shift was 2.0, here it is 3.0"),
        (
            {"attention": {"cube": (1, 3, 3)}},
            r"attention.cube was \[1, 2, 2\], here it is \[1, 3, 3",
        ),
        ({"attention": {"reach": "all"}}, "attention.reach was 'faces', here it is 'all'"),
        ({"attention": {"alignment": "endpoints"}}, "attention.alignment was 'ratio'"),
    ],
)
def test_a_state_of_other_settings_is_refused(folder, begun, change, said):
    ((section, values),) = change.items()
    other = replace(begun, **{section: replace(getattr(begun, section), **values)})
    with pytest.raises(ValueError, match=f"{said}.*set `out` to another folder"):
        loop.Run(other)


def test_a_state_goes_on_with_its_base_alone_wherever_that_lies(folder, begun, tmp_path, capsys):
    moved = tmp_path / "moved" / "base.safetensors"
    moved.parent.mkdir()
    moved.write_bytes((folder / "base.safetensors").read_bytes())
    assert loop.Run(replace(begun, base=replace(begun.base, file=str(moved)))).position.step == 1
    assert "keeps no settings" not in capsys.readouterr().out
    renamed = moved.rename(moved.with_name("other.safetensors"))
    with pytest.raises(ValueError, match="base.file was 'base.safetensors', here it is 'other.saf"):
        loop.Run(replace(begun, base=replace(begun.base, file=str(renamed))))
    save_file({"more": torch.zeros(4)} | load_file(renamed), moved)
    with pytest.raises(ValueError, match="size of base.file was"):
        check_settings(
            tmp_path / "state.safetensors",
            replace(begun, base=replace(begun.base, file=str(moved))),
        )


def test_a_state_that_keeps_no_settings_goes_on_and_says_so(folder, begun, tmp_path, capsys):
    file = tmp_path / "state.safetensors"
    with safe_open(file, "pt") as opened:
        position = opened.metadata()["position"]
    save_file(load_file(file), file, {"position": position})  # as an earlier version wrote it
    assert loop.Run(begun).position.step == 1
    assert "of an earlier version and keeps no settings" in capsys.readouterr().out


def test_the_rate_rises_over_the_warmup_and_falls_over_the_cooldown():
    train = TrainConfig(steps=10, lr=1.0, warmup=4, cooldown=3)
    rates = [loop.learning_rate(train, step) for step in range(10)]
    assert rates == [0.25, 0.5, 0.75, 1, 1, 1, 1, 0.75, 0.5, 0.25]
    constant = TrainConfig(steps=10, lr=1.0, warmup=0)
    assert {loop.learning_rate(constant, step) for step in range(10)} == {1.0}


def test_steps_without_finite_gradients_are_left_out_and_end_the_run(folder, tmp_path, capsys):
    run = loop.Run(config_of(folder, out=tmp_path, bad_steps=2))
    weight = next(iter(run.weights.values()))
    before = {name: p.detach().clone() for name, p in run.weights.items()}
    good = weight.detach().clone()
    weight.data[0, 0] = float("nan")
    run.step()
    assert replace(run.position, held_out="") == Position(step=1, bad=1, skipped=1)
    weight.data.copy_(good)
    assert all(torch.equal(before[name], p) for name, p in run.weights.items())
    run.step()
    assert run.position.bad == 0
    assert any(not torch.equal(before[name], p) for name, p in run.weights.items())
    weight.data[0, 0] = float("nan")
    run.step()
    with pytest.raises(ValueError, match="2 steps in a row"):
        run.step()
    assert "not finite" in capsys.readouterr().out


def test_a_scaler_lowers_its_scale_after_an_overflow_and_the_run_goes_on(
    folder, tmp_path, monkeypatch
):
    """What precision fp16 does on a GPU, with a scaler of the CPU's."""
    run = loop.Run(config_of(folder, out=tmp_path))
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)
    run.accelerator.scaler, run.accelerator.native_amp = scaler, True
    run.optimiser = type(run.optimiser)(run.optimiser.optimizer, scaler=scaler)
    run.accelerator._optimizers = [run.optimiser]
    monkeypatch.setattr(run.accelerator.state, "_mixed_precision", "fp16")
    weight = next(iter(run.weights.values()))
    before = weight.detach().clone()
    weight.data[0, 0] = float("inf")
    run.step()
    assert (run.position.bad, scaler.get_scale()) == (1, 2.0**15)
    assert all(value.isfinite().all() for value in run.ema.average.values())
    weight.data.copy_(before)
    run.step()
    assert (run.position.bad, scaler.get_scale()) == (0, 2.0**15)
    assert not torch.equal(weight, before)


def test_without_a_largest_norm_gradients_are_what_they_are(folder, tmp_path):
    """AdamW's first moment is a tenth of the gradient."""
    moments = []
    for clip in (0.0, 1e-3):
        run = loop.Run(config_of(folder, out=tmp_path, clip=clip))
        _, norm = run.step()
        kept = run.optimiser.optimizer.state.values()
        moments.append(torch.cat([state["exp_avg"].flatten() for state in kept]).norm())
    torch.testing.assert_close(moments[0], torch.tensor(0.1 * norm))
    torch.testing.assert_close(moments[1], torch.tensor(0.1 * 1e-3), rtol=1e-2, atol=0)


def test_a_run_that_died_before_its_last_export_exports_when_started_again(folder, tmp_path):
    config = config_of(folder, out=tmp_path)
    blocked = tmp_path / "detail.safetensors"
    blocked.mkdir()  # nothing can be written under this name
    with pytest.raises(OSError):
        loop.run(config)
    blocked.rmdir()
    assert loop.run(config) == 0
    trained = {name: value for name, value in state(config).items() if name.startswith("ema.")}
    for role in ("proxy", "detail"):
        saved = load_file(tmp_path / f"{role}.safetensors")
        name = "blocks.0.self_attn.q.lora_B"
        (want,) = (v for n, v in trained.items() if f"{name}.{role}" in n)
        assert torch.equal(saved[f"diffusion_model.{name}.weight"], want.bfloat16())


@pytest.fixture
def own_accelerator():
    """accelerate takes one precision and one group of processes a process."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.mark.parametrize("stage", ["stage1", "guide"])
def test_the_network_reads_the_noise_level_that_it_is_told(
    folder, tmp_path, stage, own_accelerator
):
    """In bfloat16 0.999 is 1: noise has to be mixed in before anything is rounded."""
    config = config_of(folder, stage, out=tmp_path, precision="bf16", shift=100.0)
    run = loop.Run(replace(config, base=replace(config.base, dtype="bfloat16")))
    read = []
    embedding = run.student.base.patch_embedding
    embedding.register_forward_pre_hook(lambda _, given: read.append(given[0]))
    run.gradients(0)
    run.held_out_loss()
    for batch in (run.clips.batch(0), run.clips.held_out_batches()[0]):
        noisy = flow.noised(batch.x0, batch.noise, batch.sigma_B).bfloat16().float()
        assert any(x.shape == noisy.shape and torch.equal(x, noisy) for x in read)


def test_ctrl_c_saves_and_the_same_command_goes_on(folder, tmp_path):
    config = config_of(folder, out=tmp_path, steps=3)
    run = loop.Run(config)
    one_step = run.step

    def pressed():
        os.kill(os.getpid(), signal.SIGINT)
        return one_step()

    run.step = pressed
    assert run.train() == loop.STOPPED
    assert float(next(v for k, v in state(config).items() if k.startswith("step."))) == 1
    assert loop.run(config) == 0
    assert float(next(v for k, v in state(config).items() if k.startswith("step."))) == 3


@pytest.fixture
def alone_in_a_group(monkeypatch, own_accelerator):
    """This process as the only one of a group, as a launcher makes it."""
    told = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(free_port()), "ACCELERATE_USE_CPU": "true"}  # fmt: skip
    for name, value in told.items():
        monkeypatch.setenv(name, value)


def test_processes_wait_for_the_one_that_samples(folder, tmp_path, alone_in_a_group):
    loop.Run(config_of(folder, out=tmp_path))
    group = torch.distributed.distributed_c10d._get_default_group()
    assert group._get_backend(CPU).options._timeout == loop.MOST_WAIT


def test_gradients_lie_where_processes_exchange_them_and_nowhere_else(
    folder, tmp_path, alone_in_a_group
):
    run = loop.Run(config_of(folder, out=tmp_path, accumulate=2))
    run.step()  # after the first one the buckets are laid anew
    run.gradients(1)
    grads = [p.grad for p in run.weights.values()]
    assert len({grad.untyped_storage().data_ptr() for grad in grads}) < len(grads)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def two_processes(file, folders=(ROOT, ROOT)):
    """The command in each folder, as two hosts would run it -> what they said, how they ended."""
    command = [sys.executable, "-m", "atlasvid_core.train", "guide", "--config", str(file)]
    several = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()),
               "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1",
               "PYTHONPATH": str(ROOT)}  # fmt: skip
    runs = [
        subprocess.Popen(command, cwd=folders[i], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                         text=True, env={**os.environ, **several, "RANK": str(i),
                                         "LOCAL_RANK": str(i)})
        for i in range(2)
    ]  # fmt: skip
    try:
        said = [run.communicate(timeout=240)[0] for run in runs]
    finally:
        for run in runs:
            run.kill()
    return said, [run.returncode for run in runs]


def test_hosts_that_share_no_out_end_in_words(folder, tmp_path):
    """One has the state of an earlier run, the other none: their weights would differ."""
    config_of(folder)  # its cache
    hosts = [tmp_path / "one", tmp_path / "two"]
    for host in hosts:
        host.mkdir()
    file = tmp_path / "config.toml"
    file.write_text(as_toml(folder, "out"))
    assert two_processes(file, hosts)[1] == [0, 0]
    assert not (hosts[1] / "out" / "state.safetensors").exists()
    said, ended = two_processes(file, hosts)
    assert ended == [2, 2], said
    for words in said:
        assert "state.safetensors is at step 0, 1, depending on the process" in words
        assert "Set `out` to a folder on a disk that all hosts share" in words


def test_two_processes_make_the_gradients_of_one(folder, tmp_path):
    """One step; AdamW's first moment is a tenth of the gradient."""
    one = config_of(folder, out=tmp_path / "one", steps=1, accumulate=4)
    assert loop.run(one) == 0
    file = tmp_path / "config.toml"
    file.write_text(as_toml(folder, tmp_path / "two"))
    said, ended = two_processes(file)
    assert ended == [0, 0], said
    assert "clips, from step 0" in said[0]
    assert "clips, from step 0" not in said[1]
    want, got = state(one), load_file(tmp_path / "two" / "state.safetensors")
    moments = [name for name in want if name.startswith("exp_avg.")]
    assert moments
    for name in moments:
        torch.testing.assert_close(got[name], want[name], rtol=1e-4, atol=1e-7)


def as_toml(folder, out):
    """The run of the test above with half as much accumulated, as a file."""
    import json

    from .train_common import values

    told = values(folder, steps=1, accumulate=2) | {"out": str(out)}
    lines = [f"{key} = {json.dumps(value)}" for key, value in told.items()
             if not isinstance(value, dict)]  # fmt: skip
    for section, table in told.items():
        if isinstance(table, dict):
            lines += [f"[{section}]", *(f"{k} = {json.dumps(v)}" for k, v in table.items())]
    return "\n".join(lines)
