"""An interrupted job goes on where it was, to the same bytes; another job does not."""

import logging

import pytest
import torch

from .common import EULER, SIZES, guide_of, prompt

CHOSEN = EULER | {"steps": 4, "start": "noise", "denoise": 1.0}


@pytest.fixture
def steps(output):
    """The folder of kept steps."""
    return output / "atlasvid" / "steps"


@pytest.fixture
def job(nodes, wan, plan):
    def run(model=wan, **options):
        patched = nodes.LocalityPreservingPatch(model, plan, guide_of(nodes, model, plan))
        chosen = CHOSEN | options
        return nodes.DetailJointSampler(patched, plan, prompt(1), **chosen)["samples"]

    return run


@pytest.fixture
def forwards(pack, monkeypatch):
    """Counts forwards of the detail branch; may be told to cancel one."""
    from atlasvid_pack.nodes import detail as module

    class Count:
        done, cancel_at = 0, None

    forward = module.detail_forward

    def counted(*args, **options):
        import comfy.model_management as management

        if Count.done == Count.cancel_at:
            raise management.InterruptProcessingException()
        Count.done += 1
        return forward(*args, **options)

    monkeypatch.setattr(module, "detail_forward", counted)
    return Count


@pytest.mark.parametrize("cancel_at", [1, 3])
def test_a_job_goes_on_to_the_same_bytes(job, steps, forwards, cancel_at):
    import comfy.model_management as management

    want = job(keep_steps=False)
    assert not steps.exists()
    forwards.done, forwards.cancel_at = 0, cancel_at
    with pytest.raises(management.InterruptProcessingException):
        job()
    (place,) = steps.iterdir()
    assert [p.name for p in place.iterdir()] == [f"step_{cancel_at:04}.safetensors"]
    forwards.done, forwards.cancel_at = 0, None
    assert torch.equal(job(), want)
    assert forwards.done == 4 - cancel_at
    assert torch.equal(job(), want)  # finished: nothing is left to do
    assert forwards.done == 4 - cancel_at


def test_a_changed_job_starts_anew(nodes, stock, wan, job, steps, forwards, lora_file):
    lora = stock.lora().load_lora_model_only(wan, lora_file("kept.safetensors"), 0.5)[0]
    stronger = stock.lora().load_lora_model_only(wan, lora_file("kept.safetensors"), 0.6)[0]
    changes = [{}, {"seed": 6}, {"shift": 4.0}, {"scheduler": "normal"}]
    changes += [{"model": lora}, {"model": stronger}]
    results = [job(**change) for change in changes]
    assert forwards.done == 4 * len(changes)
    assert len(list(steps.iterdir())) == len(changes)
    again = [job(**change) for change in changes]  # LoRAs are worked into the weights by now
    assert forwards.done == 4 * len(changes)
    assert all(torch.equal(a, b) for a, b in zip(results, again, strict=True))


def test_other_samplers_say_that_they_start_over(job, steps, forwards, caplog):
    with caplog.at_level(logging.INFO):
        job(sampler_name="dpmpp_2m")
    assert "dpmpp_2m keeps no steps" in caplog.text and not steps.exists()


def test_a_full_disk_costs_the_safety_not_the_job(job, steps, caplog):
    want = job(keep_steps=False)
    steps.parent.mkdir(parents=True)
    steps.write_text("a file where the folder should be")
    assert torch.equal(job(), want)
    assert "sampling goes on" in caplog.text


def test_broken_files_are_passed_over_and_old_jobs_go(pack, tmp_path, caplog):
    from atlasvid_pack.nodes import kept_steps

    kept = kept_steps.KeptSteps(tmp_path, "new")
    kept.put(1, torch.ones(2))
    (kept.place / "step_0002.safetensors").write_bytes(b"half a file")
    (kept.place / "step_0003.part").write_bytes(b"never renamed")
    done, latent = kept.latest()
    assert done == 1 and torch.equal(latent, torch.ones(2)) and "step_0002" in caplog.text
    for name in ("old", "newer"):
        kept_steps.KeptSteps(tmp_path, name).put(1, torch.ones(2))
    import os

    os.utime(tmp_path / "old" / "step_0001.safetensors", (0, 0))
    kept_steps.prune(tmp_path, but="new")
    assert {p.name for p in tmp_path.iterdir()} == {"new", "newer"}


def test_sizes_make_a_job_too(nodes, wan, steps):
    plan = nodes.Plan(**(SIZES | {"frames": 9}))
    for reach in ("own", "all"):
        chosen = nodes.Plan(**(SIZES | {"frames": 9, "reach": reach}))
        patched = nodes.LocalityPreservingPatch(wan, chosen)
        nodes.DetailJointSampler(patched, chosen, prompt(1), **CHOSEN)
    assert len(list(steps.iterdir())) == 2 and plan.reach == "faces"
