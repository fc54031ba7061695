"""Names of jobs: whatever changes a result changes the name, and nothing else does."""

import copy
import logging
import math
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from .common import EULER, guide_of, prompt


@pytest.fixture
def name(pack):
    from atlasvid_pack.nodes.fingerprint import fingerprint

    return fingerprint


def seen(value: float):
    """As CLIPVisionEncode gives it: an object whose tensors are its attributes."""
    import comfy.clip_vision

    output = comfy.clip_vision.Output()
    output["penultimate_hidden_states"] = torch.full((1, 257, 1280), value)
    return output


def hooks(strength: float):
    import comfy.hooks

    group = comfy.hooks.HookGroup()
    group.add(comfy.hooks.WeightHook(strength_model=strength, strength_clip=0.0))
    return group


def with_default(value):
    def function(*, chosen=value):
        return chosen

    return function


MADE = {
    "an image seen by CLIP Vision": seen,
    "hooks on a conditioning": hooks,
    "one number as a tensor": torch.tensor,
    "a number of an array": lambda value: np.float32(value),
    "an array": lambda value: torch.tensor([value]).numpy(),
    "an argument of a partial": partial(partial, pow),
    "a default of a function": with_default,
}


@pytest.mark.parametrize("what", MADE)
def test_what_a_thing_holds_is_in_its_name(name, what):
    make = MADE[what]
    assert name(make(0.2)) == name(make(0.2))
    assert name(make(0.2)) != name(make(1.0))
    assert name([{"x": make(0.2)}]) != name([{"x": make(1.0)}])


def test_functions_of_the_library_have_their_names(name):
    assert name(torch.sigmoid) != name(torch.tanh)
    assert name(math.sin) != name(math.cos)
    assert name(torch.nn.SiLU) != name(torch.nn.GELU)


def test_a_thing_given_twice_is_as_two_that_are_alike(name):
    one = seen(0.5)
    assert name(one, one) == name(one, copy.copy(one))
    assert name(one, [one]) != name([one], one)


def test_how_far_a_hook_has_come_is_not_in_its_name(name):
    used = hooks(0.5)
    used.hooks[0].hook_keyframe._curr_t = 0.25
    assert name(used) == name(hooks(0.5))


def test_things_within_themselves_have_names(name):
    a, b = SimpleNamespace(value=1), SimpleNamespace(value=2)
    a.me, b.me = a, b
    assert name(a) != name(b)


def a_program():
    """More objects than a job is ever made from, and a chain deeper than Python follows."""
    chain = None
    for _ in range(5000):
        chain = SimpleNamespace(next=chain)
    return {"many": [[i] for i in range(210_000)], "deep": chain}


@pytest.mark.parametrize("what", ["many", "deep"])
def test_a_whole_program_has_none(name, what):
    from atlasvid_pack.nodes.fingerprint import Unnamed

    with pytest.raises(Unnamed):
        name(a_program()[what])


def test_a_job_without_a_name_runs_and_keeps_nothing(nodes, wan, plan, output, caplog):
    patched = nodes.LocalityPreservingPatch(wan, plan, guide_of(nodes, wan, plan))
    ((text, rest),) = prompt(1)
    strange = [[text, rest | {"tool": a_program()["many"]}]]
    chosen = EULER | {"steps": 1, "start": "noise", "denoise": 1.0}
    with caplog.at_level(logging.WARNING):
        kept = nodes.DetailJointSampler(patched, plan, strange, **chosen)["samples"]
    assert "no steps are kept" in caplog.text
    assert not (output / "atlasvid" / "steps").exists()
    want = nodes.DetailJointSampler(patched, plan, prompt(1), **chosen)["samples"]
    assert torch.equal(kept, want)


def test_another_image_is_another_job(nodes, wan, plan, output):
    """End to end: what was kept for one image is not given for another."""
    patched = nodes.LocalityPreservingPatch(wan, plan, guide_of(nodes, wan, plan))
    chosen = EULER | {"steps": 1, "start": "noise", "denoise": 1.0}
    for value in (0.0, 1.0, 0.0):
        ((text, rest),) = prompt(1)
        shown = [[text, rest | {"clip_vision_output": seen(value)}]]
        nodes.DetailJointSampler(patched, plan, shown, **chosen)
    assert len(list((output / "atlasvid" / "steps").iterdir())) == 2


@pytest.mark.parametrize(("part", "as_patch"), [
    ("diffusion_model", False), ("diffusion_model.blocks.0", False),
    ("diffusion_model.blocks.0", True),
])  # fmt: skip
def test_a_compiled_model_has_one_name_in_every_process(
    nodes, stock, load, plan, empty, lora_file, part, as_patch
):
    """Each compile has a number of its own, and its weights have the LoRAs in them once loaded."""
    from atlasvid_pack.nodes.host_identity import model_fingerprint
    from comfy_api.torch_helpers import set_torch_compile_wrapper

    base = load()

    def compiled(strength):
        model = stock.lora().load_lora_model_only(base, lora_file("c.safetensors"), strength)[0]
        if as_patch:
            module = torch.compile(base.get_model_object(part), backend="eager")
            model.add_object_patch(part, module)
        else:
            set_torch_compile_wrapper(model, backend="eager", keys=[part])
        return nodes.LocalityPreservingPatch(model, plan)

    first = compiled(0.5)
    want = model_fingerprint(first)
    assert model_fingerprint(compiled(0.5)) == want
    assert model_fingerprint(compiled(0.6)) != want
    if not as_patch:  # which gives its weights other names while it is loaded
        stock.sample(first, empty, steps=1)
        assert model_fingerprint(compiled(0.5)) == model_fingerprint(first) == want
