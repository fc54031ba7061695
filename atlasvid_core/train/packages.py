"""What a command imports, and the stage after it: looked for before hours of work."""

from __future__ import annotations

from importlib.util import find_spec

from .config import Config

ALWAYS = ("accelerate", "av", "cv2", "peft")
PACKAGES = {"cv2": "opencv-python-headless"}  # module -> package, where they differ


def check_packages(config: Config, command: str) -> None:
    """ValueError where this Python lacks something."""
    umt5 = ("transformers",) if command == "cache" and config.data.text == "umt5" else ()
    board = ("tensorboard",) if config.log.tensorboard else ()
    missing = [name for name in (*ALWAYS, *umt5, *board) if find_spec(name) is None]
    if missing:
        raise ValueError(lacks(missing))


def lacks(modules: list[str]) -> str:
    names = " ".join(PACKAGES.get(module, module) for module in modules)
    return f"this Python lacks what the trainer needs. Do: pip install {names}"
