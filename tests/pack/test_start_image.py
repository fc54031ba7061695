"""Image to video: a start image of a stage's size, encoded short, serves it at its length."""

import pytest
import torch

from .common import EULER, SIZES, guide_of, prompt


@pytest.fixture(scope="module")
def i2v(load):
    return load(in_channels=36, image=True)


def shown(lat, ends=False, masks=1):
    """As WanImageToVideo gives it for `lat` (t, h, w); with `ends` as WanFirstLastFrameToVideo."""
    generator = torch.Generator().manual_seed(3)
    image = torch.randn(1, 16, 2, *lat[1:], generator=generator)
    image = torch.cat([image, image[:, :, 1:].expand(-1, -1, lat[0] - 2, -1, -1)], dim=2)
    mask = torch.ones(1, masks, *lat)
    mask[:, :, 0] = 0
    if ends:
        mask[:, -1:, -1] = 0
    ((text, rest),) = prompt(1)
    return [[text, rest | {"concat_latent_image": image, "concat_mask": mask}]]


def of(lat, t):
    return (t, *lat[1:])


@pytest.mark.parametrize("length, masks", [(2, 1), (9, 1), (9, 4)])
def test_another_length_gives_what_the_own_length_does(nodes, i2v, plan, length, masks):
    """The target is 4 latent frames, the proxy 3."""
    assert plan.target_lat.t == 4 and plan.proxy_lat.t == 3
    patched = nodes.LocalityPreservingPatch(i2v, plan, guide_of(nodes, i2v, plan))
    chosen = EULER | {"start": "noise", "denoise": 1.0, "keep_steps": False}

    def detail(t):
        given = shown(of(plan.target_lat, t), masks=masks)
        return nodes.DetailJointSampler(patched, plan, given, **chosen)["samples"]

    def proxy(t):
        given = shown(of(plan.proxy_lat, t), masks=masks)
        return nodes.SemanticProxyGenerator(i2v, given, prompt(2), plan, **EULER)["samples"]

    assert torch.equal(detail(length), detail(4))
    assert torch.equal(proxy(length), proxy(3))
    without = nodes.DetailJointSampler(patched, plan, prompt(1), **chosen)["samples"]
    assert not torch.equal(detail(length), without)


@pytest.mark.parametrize("length, masks", [(2, 1), (9, 4)])
def test_frames_of_the_end_fit_their_length_alone(nodes, i2v, plan, length, masks):
    patched = nodes.LocalityPreservingPatch(i2v, plan, guide_of(nodes, i2v, plan))
    chosen = EULER | {"start": "noise", "denoise": 1.0, "keep_steps": False}
    own = shown(plan.target_lat, ends=True, masks=masks)
    nodes.DetailJointSampler(patched, plan, own, **chosen)
    other = shown(of(plan.target_lat, length), ends=True, masks=masks)
    with pytest.raises(
        ValueError, match=f"end of a video of {4 * length - 3} .* has 13.*length 13"
    ):
        nodes.DetailJointSampler(patched, plan, other, **chosen)


def test_each_stage_refuses_an_image_of_the_others_size(nodes, i2v, plan):
    """The host would stretch it without a word."""
    assert plan.target_lat[1:] == (8, 8) and plan.proxy_lat[1:] == (4, 4)
    patched = nodes.LocalityPreservingPatch(i2v, plan)
    small, large = (shown((9, *lat[1:])) for lat in (plan.proxy_lat, plan.target_lat))
    words = "encoded for {0} x {0} px.*stage has {1} x {1}: .*set width {1} and height {1} in"
    with pytest.raises(ValueError, match=words.format(32, 64)):
        nodes.DetailJointSampler(patched, plan, small, **EULER, start="noise", denoise=1.0)
    with pytest.raises(ValueError, match=words.format(64, 32)):
        nodes.SemanticProxyGenerator(i2v, prompt(1), large, plan, **EULER)
    wide = nodes.Plan(**(SIZES | {"width": 96}))
    patched = nodes.LocalityPreservingPatch(i2v, wide)
    with pytest.raises(ValueError, match="for 64 x 96 px, .* has 96 x 64: .*width 96 and height 6"):
        nodes.DetailJointSampler(
            patched, wide, shown((4, 12, 8)), **EULER, start="noise", denoise=1.0
        )


def test_a_text_to_video_model_leaves_an_image_of_any_size_unread(nodes, wan, plan):
    """As where stage 1 alone is image to video, and one conditioning leads to both."""
    patched = nodes.LocalityPreservingPatch(wan, plan)
    chosen = EULER | {"start": "noise", "denoise": 1.0, "keep_steps": False}
    small, large = (shown((9, *x[1:]), ends=True) for x in (plan.proxy_lat, plan.target_lat))
    got, want = (
        (
            nodes.DetailJointSampler(patched, plan, detail, **chosen)["samples"],
            nodes.SemanticProxyGenerator(wan, proxy, prompt(2), plan, **EULER)["samples"],
        )
        for detail, proxy in ((small, large), (prompt(1), prompt(1)))
    )
    assert all(map(torch.equal, got, want))
