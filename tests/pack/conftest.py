"""The nodes on a real ComfyUI host, in this process, with tiny random Wan models."""

from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

from atlasvid_core.wan.dit import WanConfig, WanDiT

from .common import EULER, SIZES, prompt


@pytest.fixture(autouse=True)
def output(host, monkeypatch, tmp_path):
    """ComfyUI's output folder is a test's own: what one job keeps is no other test's business."""
    import folder_paths

    monkeypatch.setattr(folder_paths, "output_directory", str(tmp_path / "output"))
    return tmp_path / "output"


@pytest.fixture(scope="session")
def nodes(pack):
    """Our node classes by name, each call giving its first output."""
    from atlasvid_pack.nodes import NODES

    def call(node):
        return lambda *args, **kwargs: node.execute(*args, **kwargs).args[0]

    calls = {node.GET_SCHEMA().node_id[len("AtlasVid") :]: call(node) for node in NODES}
    return SimpleNamespace(**calls)


@pytest.fixture(scope="session")
def stock(host):
    """The host's own nodes that ours meet."""
    import nodes as host_nodes
    from comfy_extras import nodes_custom_sampler, nodes_easycache, nodes_model_advanced

    def sample(model, latent, positive=None, **options):
        chosen = {**EULER, "denoise": 1.0, **options}
        shift = chosen.pop("shift")
        model = nodes_model_advanced.ModelSamplingSD3().patch(model, shift)[0]
        text = positive or prompt(1)
        return host_nodes.common_ksampler(
            model, chosen.pop("seed"), chosen.pop("steps"), chosen.pop("cfg"),
            chosen.pop("sampler_name"), chosen.pop("scheduler"), text, prompt(2), latent, **chosen,
        )[0]["samples"]  # fmt: skip

    return SimpleNamespace(
        sample=sample,
        custom=nodes_custom_sampler,
        easycache=nodes_easycache.EasyCacheNode,
        shift=nodes_model_advanced.ModelSamplingSD3,
        lora=host_nodes.LoraLoaderModelOnly,
    )


@pytest.fixture(scope="session")
def load(host, tmp_path_factory):
    """Write a random Wan2.1 file and load it with the host's own loader."""
    import comfy.sd

    def load(seed=0, dtype=None, **config):
        torch.manual_seed(seed)
        config = {"width": 128, "ffn_width": 256, "layers": 2} | config
        path = tmp_path_factory.mktemp("wan") / "wan.safetensors"
        save_file(WanDiT(WanConfig(**config)).state_dict(), path)
        return comfy.sd.load_diffusion_model(str(path), {"dtype": dtype} if dtype else {})

    return load


@pytest.fixture(scope="session")
def wan(load):
    return load()


@pytest.fixture
def plan(nodes):
    return nodes.Plan(**SIZES)


@pytest.fixture
def empty(plan):
    return {"samples": torch.zeros(1, 16, *plan.target_lat)}


@pytest.fixture(scope="session")
def lora_file(host, tmp_path_factory):
    """Write a LoRA in the stock loader's form; the host lists it by its name."""
    import folder_paths

    folder = tmp_path_factory.mktemp("loras")
    folder_paths.add_model_folder_path("loras", str(folder))

    def write(name, modules=("self_attn.q", "self_attn.k"), width=128, layers=2):
        torch.manual_seed(len(name))  # other names, other weights
        weights = {}
        for layer in range(layers):
            for module in modules:
                key = f"diffusion_model.blocks.{layer}.{module}"
                weights[f"{key}.lora_A.weight"] = torch.randn(2, width)
                weights[f"{key}.lora_B.weight"] = torch.randn(width, 2)
        save_file(weights, folder / name)
        folder_paths.filename_list_cache.pop("loras", None)
        return name

    return write


@pytest.fixture(scope="session")
def tiny_vae(pack):
    """AtlasVid-Tiny's, from its file."""
    import comfy.sd
    import comfy.utils
    from atlasvid_pack.nodes.host import TINY_FILES

    path = TINY_FILES / "vae" / "atlasvid_tiny_vae.safetensors"
    return comfy.sd.VAE(sd=comfy.utils.load_torch_file(str(path)))
