#!/usr/bin/env python3
"""One door for developers and the curious; needs nothing but Python 3.10 or later.

    python dev.py demo     a real ComfyUI makes a two-stage video on this machine
    python dev.py test     the whole suite, inside a real ComfyUI (arguments go to pytest)
    python dev.py serve    ComfyUI with the pack, for a person
    python dev.py lint     ruff and the type checker

The environment goes into .venv and a ComfyUI into .host, unless COMFYUI_PATH names one or this
folder already lies in one's custom_nodes.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

from devtools import environment, hosts
from devtools.steps import StepFailed, run, say

ROOT = Path(__file__).resolve().parent
TYPED = ("atlasvid_core", "devtools", "dev.py")


def main(argv: list[str] | None = None) -> int:
    args, rest = parser().parse_known_args(argv)
    if rest and args.command != "test":
        parser().error(f"unrecognised arguments: {' '.join(rest)}")
    try:
        return args.call(args, rest)
    except StepFailed as error:
        print(f"dev.py: {error}", file=sys.stderr)
        return error.status
    except KeyboardInterrupt:
        print("dev.py: stopped", file=sys.stderr)
        return 130


def parser() -> argparse.ArgumentParser:
    out = argparse.ArgumentParser(
        prog="dev.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = out.add_subparsers(dest="command", required=True)
    demo = commands.add_parser("demo", help="make a video with the tiny model")
    demo.add_argument("--prompt", help="words of the tiny world, such as those of the default")
    demo.add_argument("--seed", type=int)
    demo.add_argument("--size", metavar="WxHxF", type=size_px, help="pixels and frames")
    demo.add_argument("--out", type=Path, metavar="DIR", help="instead of demo/<time>")
    demo.set_defaults(call=run_demo)
    commands.add_parser("test", help="run the suite", add_help=False).set_defaults(call=run_tests)
    serve = commands.add_parser("serve", help="ComfyUI with the pack")
    serve.add_argument("--port", type=int, default=8188)
    serve.set_defaults(call=run_serve)
    commands.add_parser("lint", help="ruff and mypy").set_defaults(call=run_lint)
    return out


def size_px(text: str) -> tuple[int, int, int]:
    """WxHxF -> width, height, frames."""
    try:
        width, height, frames = (int(part) for part in text.lower().split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no size: write width x height x frames, such as 192x192x33"
        ) from None
    return width, height, frames


def prepared() -> tuple[Path, Path]:
    """-> (python of the environment, folder of the host), both ready to use."""
    host = hosts.find_or_bring(ROOT)
    return environment.ensure(ROOT, host), host


def run_demo(args: argparse.Namespace, _: list[str]) -> int:
    python, host = prepared()
    command: list = [python, "-m", "devtools.demo", "--host", host]
    for name in ("prompt", "seed", "out"):
        if getattr(args, name) is not None:
            command += [f"--{name}", getattr(args, name)]
    if args.size:
        command += ["--size", "x".join(map(str, args.size))]
    return run("demo", command, cwd=ROOT, check=False)


def run_tests(_: argparse.Namespace, rest: list[str]) -> int:
    python, host = prepared()
    environment.bring_browser()
    env = {**os.environ, "COMFYUI_PATH": str(host)}
    return run("test", [python, "-m", "pytest", *rest], cwd=ROOT, env=env, check=False)


def run_serve(args: argparse.Namespace, _: list[str]) -> int:
    python, host = prepared()
    hosts.link(ROOT, host / "custom_nodes")
    say("serve", f"http://127.0.0.1:{args.port} (Ctrl-C stops)")
    return run("serve", serve_command(python, host, args.port), cwd=host, check=False)


def serve_command(python: Path, host: Path, port: int) -> list[str | Path]:
    command: list[str | Path] = [python, host / "main.py", "--listen", "127.0.0.1"]
    command += ["--port", str(port)]
    accelerated = sys.platform == "darwin" or shutil.which("nvidia-smi") or shutil.which("rocm-smi")
    return command if accelerated else [*command, "--cpu", "--use-pytorch-cross-attention"]


def run_lint(_: argparse.Namespace, __: list[str]) -> int:
    python, _host = prepared()
    status = 0
    for command in (["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy", *TYPED]):
        status |= run("lint", [python, "-m", *command], cwd=ROOT, check=False)
    return status


if __name__ == "__main__":
    sys.exit(main())
