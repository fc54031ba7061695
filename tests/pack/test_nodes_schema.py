"""What people see of the nodes: names, order of inputs, tooltips, help pages."""

import asyncio
from pathlib import Path

import pytest

SAMPLER = ["seed", "steps", "cfg", "sampler_name", "scheduler", "shift"]
INPUTS = {
    "AtlasVidPlan": [
        "width", "height", "frames", "fps", "r_t", "proxy_height",
        "cube_t", "cube_h", "cube_w", "reach", "alignment",
    ],
    "AtlasVidSemanticProxyGenerator": ["model", "positive", "negative", "plan", *SAMPLER],
    "AtlasVidVideoToProxy": ["video", "vae", "plan", "rate", "start"],
    "AtlasVidScaledRoPEAligner": ["model", "proxy", "plan", "dtype", "store"],
    "AtlasVidLocalityPreservingPatch": ["model", "plan", "guide", "backend", "memory_budget"],
    "AtlasVidDetailJointSampler": [
        "model", "plan", "positive", *SAMPLER, "start", "denoise", "negative", "proxy", "vae",
        "keep_steps",
    ],
    "AtlasVidTiledVAEDecode": ["vae", "samples", "tile"],
    "AtlasVidTiledVAEDecodeToVideo": [
        "vae", "samples", "fps", "codec", "bits", "crf", "tile", "keep_decoded", "audio"
    ],
    "AtlasVidCompare": ["proxy", "detail", "match", "max_side"],
    "AtlasVidTinyPrompt": ["text", "view"],
    "AtlasVidCachedTextEncode": ["clip", "text"],
    "AtlasVidLoadConditioning": ["file"],
}  # fmt: skip
OUTPUTS = {
    "AtlasVidPlan": ["plan", "latent", "summary"],
    "AtlasVidSemanticProxyGenerator": ["proxy", "fps", "proxy_fps"],
    "AtlasVidVideoToProxy": ["proxy", "audio", "fps", "proxy_fps"],
    "AtlasVidScaledRoPEAligner": ["guide", "summary"],
    "AtlasVidLocalityPreservingPatch": ["model", "summary"],
    "AtlasVidDetailJointSampler": ["latent"],
    "AtlasVidTiledVAEDecode": ["images"],
    "AtlasVidTiledVAEDecodeToVideo": ["video"],
    "AtlasVidCompare": [],
    "AtlasVidTinyPrompt": ["conditioning", "closeup"],
    "AtlasVidCachedTextEncode": ["conditioning", "summary"],
    "AtlasVidLoadConditioning": ["conditioning", "text"],
}
NAMES = {"AtlasVidPlan": "VideoPlan", "AtlasVidCompare": "CompareVideos"}


@pytest.fixture(scope="session")
def schemas(pack):
    nodes = asyncio.run(asyncio.run(pack.comfy_entrypoint()).get_node_list())
    return {schema.node_id: schema for schema in (node.GET_SCHEMA() for node in nodes)}


def test_ids_and_order_of_inputs_and_outputs_are_frozen(schemas):
    assert {name: [i.id for i in s.inputs] for name, s in schemas.items()} == INPUTS
    found = {name: [o.display_name for o in s.outputs] for name, s in schemas.items()}
    assert found == OUTPUTS


def test_the_page_offers_every_tile_that_is_allowed(pack):
    """A widget rounds what is typed to its steps."""
    from atlasvid_pack.nodes import refuse
    from atlasvid_pack.nodes.decode import TILE

    for tile_px in (refuse.MIN_TILE_PX, refuse.MIN_TILE_PX + TILE.step):
        refuse.check_tile(tile_px, "a node")
    with pytest.raises(ValueError, match=f"multiple of {TILE.step} pixels"):
        refuse.check_tile(refuse.MIN_TILE_PX + TILE.step // 2, "a node")


def test_every_node_explains_itself(schemas):
    for name, schema in schemas.items():
        assert schema.category == "AtlasVid"
        assert schema.display_name == NAMES.get(name, name[len("AtlasVid") :])
        assert schema.description
        assert all(i.tooltip for i in [*schema.inputs, *schema.outputs]), name
        if hasattr(schema, "search_aliases"):  # hosts after 0.3.75
            assert len(schema.search_aliases) > 1, name


def test_tiny_files_are_listed_by_the_hosts_loaders(schemas, host):
    import folder_paths

    for folder in ("diffusion_models", "vae", "loras"):
        paths = [Path(p) for p in folder_paths.get_folder_paths(folder)]
        assert any(p.match("tiny/files/" + folder) for p in paths)


def test_plan_gives_an_empty_latent_and_a_summary(pack):
    from atlasvid_pack.nodes.plan import VideoPlanNode

    plan, latent, summary = VideoPlanNode.execute(
        width=192, height=96, frames=33, fps=16.0, r_t=4.0, proxy_height=48,
        cube_t=1, cube_h=2, cube_w=2, reach="faces", alignment="ratio",
    ).args  # fmt: skip
    assert plan.proxy_frames_px == 9
    assert latent["samples"].shape == (1, 16, 9, 12, 24)
    assert not latent["samples"].any()
    assert "192 x 96" in summary
