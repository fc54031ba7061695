"""An interrupted job goes on where it was, to the same bytes; another job does not."""

import logging
import os
import shutil
from contextlib import contextmanager, nullcontext

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
    assert [p.name for p in place.iterdir()] == [f"step_{cancel_at:04}.safetensors"]  # no latent
    forwards.done, forwards.cancel_at = 0, None
    assert torch.equal(job(), want)
    assert forwards.done == 4 - cancel_at
    assert torch.equal(job(), want)  # finished: nothing is left to do
    assert forwards.done == 4 - cancel_at


def test_a_finished_job_lets_go_of_its_guide(nodes, wan, plan):
    results = []
    for _ in range(2):
        guide = guide_of(nodes, wan, plan)
        patched = nodes.LocalityPreservingPatch(wan, plan, guide)
        results.append(nodes.DetailJointSampler(patched, plan, prompt(1), **CHOSEN)["samples"])
        assert not guide.held
    assert torch.equal(*results)


def rescaled(model, scale):
    """As nodes do that work on what the model predicts: a function with a setting inside."""
    clone = model.clone()
    clone.set_model_sampler_post_cfg_function(lambda args: args["denoised"] * scale)
    return clone


def test_a_changed_job_starts_anew(nodes, stock, wan, job, steps, forwards, lora_file):
    lora = stock.lora().load_lora_model_only(wan, lora_file("kept.safetensors"), 0.5)[0]
    stronger = stock.lora().load_lora_model_only(wan, lora_file("kept.safetensors"), 0.6)[0]
    changes = [{}, {"seed": 6}, {"shift": 4.0}, {"scheduler": "normal"}]
    changes += [{"model": lora}, {"model": stronger}]
    for shift in (2.0, 5.0):  # by the stock node, in the MODEL itself
        changes.append({"model": stock.shift().patch(wan, shift)[0], "shift": 0.0})
    for scale in (1.0, 0.9):
        changes.append({"model": rescaled(wan, scale)})
    results = [job(**change) for change in changes]
    assert forwards.done == 4 * len(changes)
    assert len(list(steps.iterdir())) == len(changes)
    again = [job(**change) for change in changes]  # LoRAs are worked into the weights by now
    assert forwards.done == 4 * len(changes)
    assert all(torch.equal(a, b) for a, b in zip(results, again, strict=True))


def test_other_samplers_say_that_they_start_over(job, steps, forwards, caplog):
    import comfy.model_management as management

    forwards.cancel_at = 3
    with caplog.at_level(logging.INFO), pytest.raises(management.InterruptProcessingException):
        job(sampler_name="dpmpp_2m")
    assert "dpmpp_2m keeps its result but no steps: this job, interrupted, starts" in caplog.text
    assert not steps.exists()
    forwards.done, forwards.cancel_at = 0, None
    want = job(sampler_name="dpmpp_2m")
    assert forwards.done == 4
    assert torch.equal(job(sampler_name="dpmpp_2m"), want)  # the finished latent is kept
    assert forwards.done == 4
    assert not torch.equal(job(), want) and forwards.done == 8


def test_what_remembers_from_step_to_step_keeps_no_steps(
    nodes, stock, wan, plan, job, forwards, caplog
):
    """EasyCache leaves out forwards by what earlier ones gave, which no latent holds."""
    import comfy.model_management as management
    from comfy_api.torch_helpers import set_torch_compile_wrapper

    model = stock.easycache.execute(wan, 3.0, 0.0, 1.0, False).args[0]
    want = job(model, steps=8, keep_steps=False)
    in_one, forwards.done, forwards.cancel_at = forwards.done, 0, 2
    assert 2 < in_one < 8
    with caplog.at_level(logging.INFO), pytest.raises(management.InterruptProcessingException):
        job(model, steps=8)
    assert "a job with easycache on its MODEL keeps its result but no steps" in caplog.text
    forwards.done, forwards.cancel_at = 0, None
    assert torch.equal(job(model, steps=8), want) and forwards.done == in_one
    assert torch.equal(job(model, steps=8), want) and forwards.done == in_one  # its result is kept
    compiled = wan.clone()
    set_torch_compile_wrapper(compiled, backend="eager")
    from atlasvid_pack.nodes.host_identity import wrapped_by

    assert wrapped_by(nodes.LocalityPreservingPatch(compiled, plan)) == []


@pytest.mark.parametrize("sampler", ["euler", "dpmpp_2m"])
def test_a_result_that_is_not_finite_is_made_anew(job, forwards, monkeypatch, sampler):
    from atlasvid_pack.nodes import detail as module

    def run():
        return job(sampler_name=sampler)

    forward = module.detail_forward

    def overflows(*args, **options):
        velocity = forward(*args, **options)
        return velocity * torch.nan if forwards.done == 3 else velocity

    with monkeypatch.context() as m:
        m.setattr(module, "detail_forward", overflows)
        assert not run().isfinite().all()
    assert forwards.done == 4
    got = run()
    assert got.isfinite().all() and forwards.done == (6 if sampler == "euler" else 8)
    assert torch.equal(got, job(sampler_name=sampler, keep_steps=False))


@pytest.mark.parametrize("place", ["a file in the way", "a read-only system", "a full disk"])
def test_where_nothing_can_be_kept_the_job_goes_on(job, steps, output, caplog, monkeypatch, place):
    import comfy.utils
    import folder_paths

    # no bars: on a slow machine they alone are more than `no_room` leaves to what pytest captures
    monkeypatch.setattr(comfy.utils, "PROGRESS_BAR_ENABLED", False)
    want = job(keep_steps=False)
    if place == "a file in the way":
        steps.parent.mkdir(parents=True)
        steps.write_text("a file where the folder should be")
    elif place == "a read-only system":
        if not os.path.isdir("/proc/self"):
            pytest.skip("needs a folder that nobody can write to")
        monkeypatch.setattr(folder_paths, "output_directory", "/proc/self")
    with no_room() if place == "a full disk" else nullcontext():
        got = job()
    assert torch.equal(got, want)
    assert caplog.text.count("sampling goes on, but can't be resumed") == 1
    if place == "a full disk":
        assert not list(steps.glob("*/step_*"))  # half files take no room either


@contextmanager
def no_room():
    """As on a full disk: no file may grow beyond 1 kB, nor may a log that pytest writes to."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_steps_deleted_while_sampling_are_no_loss(job, steps, forwards, monkeypatch):
    """Someone tidies the output folder up in the middle of a job."""
    from atlasvid_pack.nodes import kept_steps

    want, put = job(keep_steps=False), kept_steps.KeptSteps.put

    def put_and_lost(self, number, *args):
        put(self, number, *args)
        if number == 2:
            shutil.rmtree(steps.parent)

    monkeypatch.setattr(kept_steps.KeptSteps, "put", put_and_lost)
    assert torch.equal(job(), want)
    (place,) = steps.iterdir()
    assert (place / "step_0004.safetensors").exists()  # kept again after that


def test_a_saved_video_marks_its_latent(nodes, tiny_vae, job, steps, output):
    latent = job()
    (place,) = steps.iterdir()
    video = nodes.TiledVAEDecodeToVideo(
        tiny_vae, {"samples": latent}, fps=16.0, codec="h264", bits="8", crf=18, tile=0
    )
    other = nodes.TiledVAEDecodeToVideo(
        tiny_vae, {"samples": latent + 1}, fps=16.0, codec="ffv1", bits="8", crf=18, tile=0
    )
    mark = place / "a_video_of_this_was_saved"
    import folder_paths

    (output / "video").mkdir()
    temp = folder_paths.get_temp_directory()
    video.save_to(os.path.join(temp, "v.mp4"))  # gone with the server
    other.save_to(str(output / "video" / "other_00001_.mp4"))
    assert not mark.exists()
    video.save_to(str(output / "video" / "v_00001_.mp4"))
    assert mark.exists()
    video.save_to(str(output / "video" / "v_00002_.mkv"), format="mp4", codec="h264")
    names = sorted(p.name for p in (output / "video").iterdir())
    assert names == ["other_00001_.mp4", "v_00001_.mp4", "v_00002_.mkv"]  # no parts left


def test_a_job_that_fell_down_the_ladder_goes_on_where_it_fell_to(job, steps, monkeypatch, caplog):
    """Memory runs out in the third of four steps; then, in another run, there is enough again."""
    import comfy.model_management as management
    from atlasvid_pack.nodes import detail as module

    forward, asked, cancel_at = module.detail_forward, [], None

    def forward_in_a_small_machine(*args, chunks, **options):
        if len(asked) == cancel_at:
            raise management.InterruptProcessingException()
        asked.append(chunks.chunk_tok)
        if short and len(asked) > 2 and chunks.chunk_tok > 2048:
            raise torch.OutOfMemoryError("allocation on device")
        return forward(*args, chunks=chunks, **options)

    monkeypatch.setattr(module, "detail_forward", forward_in_a_small_machine)
    short = True
    want = job(keep_steps=False)
    assert asked == [8192, 8192, 8192, 4096, 2048, 2048]
    asked.clear()
    cancel_at = 5
    with pytest.raises(management.InterruptProcessingException):
        job()
    asked.clear()
    short, cancel_at = False, None
    with caplog.at_level(logging.INFO):
        assert torch.equal(job(), want)
    assert asked == [2048]
    assert "3 of 4 steps were kept" in caplog.text and "chunks of 2,048 tokens" in caplog.text
    asked.clear()
    job(seed=6)  # the next job starts with the plan of its patch
    assert asked == 4 * [8192]


def test_a_resumed_job_has_the_guide_that_its_steps_were_made_with(
    nodes, wan, plan, forwards, monkeypatch
):
    """Memory is short when the guide is read, and back when the job goes on."""
    import comfy.model_management as management
    from atlasvid_pack.nodes import guide as module

    make, asked, most_tok = module.make_guide, [], 2048

    def in_a_small_machine(*args, chunk_tok, **options):
        asked.append(chunk_tok)
        if chunk_tok > most_tok:
            raise torch.OutOfMemoryError("allocation on device")
        made = make(*args, chunk_tok=chunk_tok, **options)
        for key in made.keys:  # far more than chunks change, so that a test can see it
            key *= 1 + chunk_tok / 8192
        return made

    monkeypatch.setattr(module, "make_guide", in_a_small_machine)

    def run(**options):
        guide = guide_of(nodes, wan, plan)
        patched = nodes.LocalityPreservingPatch(wan, plan, guide)
        chosen = CHOSEN | options
        return nodes.DetailJointSampler(patched, plan, prompt(1), **chosen)["samples"]

    want = run(keep_steps=False)
    forwards.done, forwards.cancel_at = 0, 2
    with pytest.raises(management.InterruptProcessingException):
        run()
    most_tok, forwards.cancel_at = 8192, None
    asked.clear()
    assert torch.equal(run(), want)
    assert asked == [8192, 2048]
    assert not torch.equal(run(seed=6, keep_steps=False), want)
    assert asked == [8192, 2048, 8192]  # the next job has the guide as it was read for it


@pytest.mark.parametrize("sampler, cancel_at", [("euler", 0), ("euler", 2), ("dpmpp_2m", 2)])
def test_a_resumed_job_does_not_enlarge_the_proxy_again(
    nodes, wan, plan, tiny_vae, forwards, monkeypatch, sampler, cancel_at
):
    import comfy.model_management as management
    from atlasvid_pack.nodes import sampler as module

    patched = nodes.LocalityPreservingPatch(wan, plan)
    proxy = {"samples": torch.randn(1, 16, 3, 4, 4)}
    enlarged, begun = module.enlarged, []

    def noted(*args):
        begun.append(args)
        return enlarged(*args)

    monkeypatch.setattr(module, "enlarged", noted)

    def run(**options):
        chosen = CHOSEN | {"start": "proxy", "denoise": 0.6, "proxy": proxy, "vae": tiny_vae}
        chosen["sampler_name"] = sampler
        return nodes.DetailJointSampler(patched, plan, prompt(1), **(chosen | options))["samples"]

    want = run(keep_steps=False)
    forwards.done, forwards.cancel_at = 0, cancel_at
    with pytest.raises(management.InterruptProcessingException):
        run()
    forwards.cancel_at = None
    assert len(begun) == 2 and torch.equal(run(), want) and len(begun) == 2
    run(proxy={"samples": proxy["samples"] + 1})
    assert len(begun) == 3


def test_sizes_make_a_job_too(nodes, wan, steps):
    plan = nodes.Plan(**(SIZES | {"frames": 9}))
    for reach in ("own", "all"):
        chosen = nodes.Plan(**(SIZES | {"frames": 9, "reach": reach}))
        patched = nodes.LocalityPreservingPatch(wan, chosen)
        nodes.DetailJointSampler(patched, chosen, prompt(1), **CHOSEN)
    assert len(list(steps.iterdir())) == 2 and plan.reach == "faces"
