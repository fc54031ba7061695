"""VAEs that the tests of decode and encode share, and a meter of live tensors."""

import weakref
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from atlasvid_core.wan.vae import WanVAE

TINY_VAE = (
    Path(__file__).resolve().parent.parent
    / "atlasvid_core/tiny/files/vae/atlasvid_tiny_vae.safetensors"
)


def random_vae() -> WanVAE:
    torch.manual_seed(0)
    return WanVAE(dim=8).eval().requires_grad_(False)


def tiny_vae() -> WanVAE:
    vae = random_vae()
    vae.load_state_dict(load_file(TINY_VAE))
    return vae


def host_vae(ours: WanVAE):
    """The host's module with our weights."""
    from comfy.ldm.wan.vae import WanVAE as HostVAE

    theirs = HostVAE(
        dim=8, z_dim=16, dim_mult=[1, 2, 4, 4], num_res_blocks=2, attn_scales=[],
        temperal_downsample=[False, True, True], dropout=0.0,
    ).eval()  # fmt: skip
    theirs.load_state_dict(ours.state_dict())
    return theirs


class PeakBytes(TorchDispatchMode):
    """`peak`: most bytes that results of torch's operations held at once."""

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        given = {storage._cdata for storage in _storages((args, kwargs))}
        for storage in _storages(result):
            if storage._cdata not in given | self._known:
                self._known.add(storage._cdata)
                self.live += storage.nbytes()
                weakref.finalize(storage, self._drop, storage._cdata, storage.nbytes())
        self.peak = max(self.peak, self.live)
        return result

    def _drop(self, key: int, size: int) -> None:
        self._known.remove(key)
        self.live -= size


def _storages(tree) -> list[torch.UntypedStorage]:
    return [x.untyped_storage() for x in tree_leaves(tree) if isinstance(x, torch.Tensor)]
