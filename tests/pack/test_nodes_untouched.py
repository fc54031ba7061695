"""What the patch leaves as it was: the user's model, other LoRAs, other wrappers, cancelling."""

import pytest
import torch

from .common import EULER, SIZES, guide_of, proxy_of


def test_the_users_model_is_untouched(nodes, stock, wan, plan, empty):
    before = stock.sample(wan, empty)  # first, since it leaves its shift in the shared model
    weights = {k: v.clone() for k, v in wan.model.state_dict().items()}
    patched = nodes.LocalityPreservingPatch(wan, plan, guide_of(nodes, wan, plan))
    assert not torch.equal(stock.sample(patched, empty), before)
    assert torch.equal(stock.sample(wan, empty), before)
    assert wan.wrappers == {}
    assert wan.attachments == {}
    assert wan.model_options == {"transformer_options": {}}
    assert all(torch.equal(v, weights[k]) for k, v in wan.model.state_dict().items())


def test_two_branches_with_two_loras_do_not_leak(nodes, stock, wan, plan, empty, lora_file):
    name_a, name_b = lora_file("a.safetensors"), lora_file("bb.safetensors")

    def run(name_proxy, name_detail):
        branch = stock.lora().load_lora_model_only(wan, name_proxy, 1.0)[0]
        guide = guide_of(nodes, branch, plan)
        branch = stock.lora().load_lora_model_only(wan, name_detail, 1.0)[0]
        return stock.sample(nodes.LocalityPreservingPatch(branch, plan, guide), empty)

    plain = stock.sample(wan, empty)
    first = run(name_a, name_b)
    assert not torch.equal(first, run(name_b, name_a))
    assert torch.equal(first, run(name_a, name_b))
    assert torch.equal(plain, stock.sample(wan, empty))


def test_more_loras_stack_on_the_detail_model(nodes, stock, wan, plan, empty, lora_file):
    load = stock.lora().load_lora_model_only
    detail = load(wan, lora_file("detail.safetensors"), 1.0)[0]
    both = load(detail, lora_file("style.safetensors", ("self_attn.o", "cross_attn.v")), 1.0)[0]
    alone = stock.sample(nodes.LocalityPreservingPatch(detail, plan), empty)
    before = stock.sample(nodes.LocalityPreservingPatch(both, plan), empty)
    patched = nodes.LocalityPreservingPatch(detail, plan)
    after = stock.sample(load(patched, "style.safetensors", 1.0)[0], empty)
    assert not torch.equal(alone, before)
    assert torch.equal(before, after)


@pytest.mark.parametrize("easycache_first", [False, True])
def test_easycache_still_skips_steps(nodes, stock, wan, plan, empty, monkeypatch, easycache_first):
    from atlasvid_pack.nodes import detail

    calls = []
    real = detail.detail_forward
    monkeypatch.setattr(detail, "detail_forward", lambda *a, **k: calls.append(1) or real(*a, **k))
    model = wan
    if easycache_first:
        model = stock.easycache.execute(model, 3.0, 0.0, 1.0, False).args[0]
    model = nodes.LocalityPreservingPatch(model, plan)
    if not easycache_first:
        stock.sample(model, empty, steps=8)
        assert len(calls) == 8
        calls.clear()
        model = stock.easycache.execute(model, 3.0, 0.0, 1.0, False).args[0]
    stock.sample(model, empty, steps=8)
    assert 0 < len(calls) < 8


def test_memory_is_asked_for_what_the_detail_branch_needs(nodes, stock, wan, monkeypatch):
    import comfy.sampler_helpers

    plan = nodes.Plan(**(SIZES | {"frames": 29, "cube_t": 1}))
    asked = []
    real = comfy.sampler_helpers.estimate_memory
    monkeypatch.setattr(
        comfy.sampler_helpers, "estimate_memory",
        lambda model, shape, conds: asked.append(list(shape)) or real(model, shape, conds),
    )  # fmt: skip
    patched = nodes.LocalityPreservingPatch(wan, plan)
    need = patched.get_attachment("atlasvid").need_bytes
    stock.sample(patched, {"samples": torch.zeros(1, 16, *plan.target_lat)}, steps=1)
    assert len(asked) == 1
    shape = asked[0]
    assert shape[:2] + shape[3:] == [1, 16, plan.target_lat.h, plan.target_lat.w]
    frame = patched.memory_required([1, 16, 1, *shape[3:]])
    assert need <= shape[2] * frame < need + frame


def test_a_budget_changes_the_plan_and_not_the_result(nodes, stock, wan, plan, empty):
    guide = guide_of(nodes, wan, plan)
    free = nodes.LocalityPreservingPatch(wan, plan, guide)
    short = (free.get_attachment("atlasvid").need_bytes - 1024) / 2**30
    small = nodes.LocalityPreservingPatch(wan, plan, guide, memory_budget=short)
    assert small.get_attachment("atlasvid").chunks.hidden_on_host
    assert not free.get_attachment("atlasvid").chunks.hidden_on_host
    want, got = stock.sample(free, empty, steps=2), stock.sample(small, empty, steps=2)
    assert (got - want).abs().max() < 1e-4 * want.abs().max()
    with pytest.raises(ValueError, match=r"memory budget of 0.10 GB.*the least is 0.2"):
        nodes.LocalityPreservingPatch(wan, plan, guide, memory_budget=0.1)


@pytest.fixture
def forwards(pack, monkeypatch):
    """What the detail branch's forwards are given: latent, options."""
    from atlasvid_pack.nodes import detail

    seen, forward = [], detail.detail_forward

    def noted(network, latent, *args, **options):
        seen.append((latent, options))
        return forward(network, latent, *args, **options)

    monkeypatch.setattr(detail, "detail_forward", noted)
    return seen


@pytest.mark.parametrize("kind", ["t2v", "i2v"])
def test_guidance_needs_no_more_memory_than_planned(
    nodes, stock, load, plan, empty, forwards, monkeypatch, kind
):
    """Both predictions one by one, as on a host that has no room for two; the bytes are the same
    whatever is free."""
    import comfy.model_base

    model = load(in_channels=36, image=True) if kind == "i2v" else load()
    patched = nodes.LocalityPreservingPatch(model, plan, guide_of(nodes, model, plan))
    together = stock.sample(patched, empty, cfg=4.0)
    assert {len(latent) for latent, _ in forwards} == {1} and len(forwards) == 2 * EULER["steps"]
    given = []
    forward = comfy.model_base.WAN21.apply_model

    def noted(self, x, *args, **options):
        given.append(len(x))
        return forward(self, x, *args, **options)

    monkeypatch.setattr(comfy.model_base.WAN21, "apply_model", noted)
    assert torch.equal(stock.sample(patched, empty, cfg=4.0), together)
    assert set(given) == {2}
    monkeypatch.setattr(comfy.model_base.WAN21, "memory_required", lambda *_, **__: 2.0**60)
    given.clear()
    assert torch.equal(stock.sample(patched, empty, cfg=4.0), together)
    assert set(given) == {1}


def test_memory_is_pinned_unless_the_host_was_told_not_to(
    nodes, stock, wan, plan, empty, forwards, monkeypatch
):
    from comfy.cli_args import args

    stock.sample(nodes.LocalityPreservingPatch(wan, plan), empty, steps=1)
    monkeypatch.setattr(args, "disable_pinned_memory", True)
    stock.sample(nodes.LocalityPreservingPatch(wan, plan), empty, steps=1)
    assert [options["pin"] for _, options in forwards] == [True, False]


def test_cancel_stops_in_the_middle(nodes, stock, wan, plan, empty):
    import comfy.model_management as management

    guide = guide_of(nodes, wan, plan)
    patched = nodes.LocalityPreservingPatch(wan, plan, guide)
    proxy = proxy_of(nodes, wan, plan)
    for job in (
        lambda: nodes.ScaledRoPEAligner(wan, proxy, plan),
        lambda: stock.sample(patched, empty),
    ):
        management.interrupt_current_processing(True)
        with pytest.raises(management.InterruptProcessingException):
            job()
    assert stock.sample(patched, empty).isfinite().all()
