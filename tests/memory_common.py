"""How large tensors get while something runs."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class Largest(TorchDispatchMode):
    """The most bytes that a tensor of a type held, of those made outside the meta device."""

    def __init__(self):
        super().__init__()
        self.bytes = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        made = out if isinstance(out, (tuple, list)) else (out,)
        for x in made:
            if isinstance(x, torch.Tensor) and x.device.type != "meta":
                held = x.untyped_storage().nbytes()
                self.bytes[x.dtype] = max(self.bytes.get(x.dtype, 0), held)
        return out
