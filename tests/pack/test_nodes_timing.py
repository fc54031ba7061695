"""Each node's output for the page says how long it took, where the time went, and its memory."""

import time

import pytest

from .common import EULER, SIZES, guide_of, prompt, proxy_of


@pytest.fixture
def timing(pack):
    from atlasvid_pack.nodes import timing

    return timing


def test_the_footer_of_the_sampler_names_its_parts(pack, nodes, wan, plan):
    from atlasvid_pack.nodes.sampler import DetailJointSampler

    patched = nodes.LocalityPreservingPatch(wan, plan, guide_of(nodes, wan, plan))
    proxy = proxy_of(nodes, wan, plan)
    begun = time.perf_counter()
    output = DetailJointSampler.execute(
        patched, plan, prompt(1), start="proxy", denoise=0.5, proxy=proxy, **EULER
    )
    took = time.perf_counter() - begun
    (footer,) = output.ui["atlasvid_time"]
    assert 0 < footer["seconds"] <= took + 0.001
    assert set(footer["parts"]) == {"start", "sampling"}
    assert 0 < sum(footer["parts"].values()) <= footer["seconds"] + 0.002
    assert footer["of"] == "process"
    assert 50e6 < footer["peak_bytes"] < 100e9


def test_a_guide_made_anew_is_a_part_of_its_own(pack, nodes, wan, plan):
    from atlasvid_pack.nodes.sampler import DetailJointSampler

    guide = guide_of(nodes, wan, plan)
    guide.release()
    patched = nodes.LocalityPreservingPatch(wan, plan, guide)
    output = DetailJointSampler.execute(
        patched, plan, prompt(1), start="noise", denoise=1.0, keep_steps=False, **EULER
    )
    assert set(output.ui["atlasvid_time"][0]["parts"]) == {"guide", "sampling"}


def test_every_node_is_timed(pack):
    from atlasvid_pack.nodes import NODES

    for node in NODES:
        assert node.execute.__func__.__code__.co_name == "measured", node


def test_parts_within_parts_count_once(timing):
    from comfy_api.latest import io

    class Node:
        @classmethod
        @timing.timed
        def execute(cls):
            with timing.part("outer"):
                time.sleep(0.02)
                with timing.part("inner"):
                    time.sleep(0.05)
            return io.NodeOutput(1, ui={"text": ["kept"]})

    ui = Node.execute().ui
    parts = ui["atlasvid_time"][0]["parts"]
    assert parts["inner"] >= 0.05
    assert 0.02 <= parts["outer"] < ui["atlasvid_time"][0]["seconds"] - 0.045
    assert ui["text"] == ["kept"]
    with timing.part("nobody"):  # outside of a node nothing is noted
        pass


def test_a_failed_node_leaves_no_meter(pack, timing):
    from atlasvid_pack.nodes.plan import VideoPlanNode

    with pytest.raises(ValueError, match="4k"):
        VideoPlanNode.execute(**{**SIZES, "frames": 10})
    assert timing._running.get() is None


def test_peak_memory_sees_what_is_gone_again(pack):
    import torch
    from atlasvid_pack.nodes.host_page import PeakMemory

    with PeakMemory() as before:
        pass
    with PeakMemory() as peak:
        big = torch.ones(2**27)  # 512 MiB
        time.sleep(0.15)
        del big
    assert peak.bytes > before.bytes + 2**28


def test_only_files_in_comfyuis_folders_are_shown(pack, tmp_path):
    from pathlib import Path

    import folder_paths
    from atlasvid_pack.nodes.host_page import view_of

    output = Path(folder_paths.get_output_directory())
    assert view_of(output / "video" / "a.mp4") == {
        "filename": "a.mp4", "subfolder": "video", "type": "output"
    }  # fmt: skip
    assert view_of(output / ".." / "secret.mp4") is None
    assert view_of(output / "a..b.mp4") is None  # /view refuses such a name
    assert view_of(Path(f"{output}_other") / "a.mp4") is None


@pytest.mark.parametrize("fails", [True, False])
def test_a_node_that_is_stopped_anywhere_says_where_it_was(pack, timing, monkeypatch, fails):
    """The host ends a job in any call of a module, not where we ask it to."""
    from atlasvid_pack.nodes import host_progress
    from comfy_api.latest import io

    told: list[str] = []
    monkeypatch.setattr(host_progress, "_text", told.append)

    class Node:
        @classmethod
        @timing.timed
        def execute(cls):
            phase = host_progress.phase("Denoising", 100)
            began = phase.clock()
            phase.clock = lambda: began + 5.0
            phase.reach(40, "step 4 of 10")
            if fails:
                raise KeyboardInterrupt
            return io.NodeOutput()

    if fails:
        with pytest.raises(KeyboardInterrupt):
            Node.execute()
        assert told[-1] == "Denoising: stopped at step 4 of 10, 40 %"
    else:
        Node.execute()
        assert len(told) == 1
