#!/usr/bin/env python3
"""One door for developers and the curious; needs nothing but Python 3.10 or later.

    python dev.py demo     a real ComfyUI makes a two-stage video on this machine
    python dev.py test     the whole suite, inside a real ComfyUI (arguments go to pytest)
    python dev.py serve    ComfyUI with the pack, for a person (arguments go to ComfyUI)
    python dev.py cost     tokens, FLOPs, memory and seconds of a size, before making it
    python dev.py bench    measure what README claims (attention, block, guide ...)
    python dev.py ablation what each part of the method is worth, on the tiny world
    python dev.py tiny     train AtlasVid-Tiny: vae, decoder, base, stage1, guide, all; or check it
    python dev.py lint     ruff, the type checker, what the registry checks

The environment goes into .venv and a ComfyUI into .host, unless COMFYUI_PATH names one or this
folder already lies in one's custom_nodes.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from pathlib import Path

if sys.version_info < (3, 10):  # noqa: UP036
    sys.exit(f"dev.py: Python {sys.version.split()[0]} is too old: 3.10 or later is needed")

from atlasvid_core.units import lat_from_px  # noqa: E402
from devtools import environment, hosts, registry  # noqa: E402
from devtools.server import link_folder, link_pack  # noqa: E402
from devtools.steps import StepFailed, run, say  # noqa: E402

ROOT = Path(__file__).resolve().parent
PASSING_ON = ("test", "serve", "ablation")  # arguments that dev.py does not know
CHECKED = ("atlasvid_core", "atlasvid_batch", "nodes", "devtools", "bench")


def main(argv: list[str] | None = None) -> int:
    args, rest = parser().parse_known_args(argv)
    if rest and args.command not in PASSING_ON:
        parser().error(f"unrecognised arguments: {' '.join(rest)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that `run` ends its command
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
    cost = commands.add_parser("cost", help="what a size costs on this machine")
    cost.add_argument("size", metavar="WxHxF", type=size_px, help="pixels and frames")
    cost.add_argument("--model", choices=("1.3b", "14b", "tiny"), default="1.3b")
    cost.add_argument("--json", type=Path, metavar="FILE", help="the raw figures, too")
    cost.set_defaults(call=run_cost)
    bench = commands.add_parser("bench", help="measure, and hold the figures against targets")
    bench.add_argument("name", metavar="NAME", help="a table of bench/targets.toml")
    bench.add_argument("--json", type=Path, metavar="FILE", help="instead of bench/results/")
    bench.add_argument("--quick", action="store_true", help="a small run, to try it out")
    bench.set_defaults(call=run_bench)
    ablation = commands.add_parser("ablation", help="what each part is worth", add_help=False)
    ablation.set_defaults(call=run_ablation)
    tiny = commands.add_parser("tiny", help="train AtlasVid-Tiny on two cores, or check it")
    tiny.add_argument("part", choices=("vae", "decoder", "base", "stage1", "guide", "all", "check"))
    tiny.add_argument("--out", type=Path, metavar="DIR", help="instead of out/tiny")
    tiny.add_argument("--steps", type=int, help="instead of the part's own number")
    tiny.set_defaults(call=run_tiny)
    commands.add_parser("lint", help="ruff, mypy and what the registry checks").set_defaults(
        call=run_lint
    )
    return out


def size_px(text: str) -> tuple[int, int, int]:
    """WxHxF -> width, height, frames. What the model makes of them, VideoPlan checks."""
    try:
        width, height, frames = (int(part) for part in text.lower().split("x"))
    except ValueError:
        width = height = frames = 0
    if min(width, height, frames) < 1:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no size: write width x height x frames, such as 192x192x33"
        )
    return width, height, frames


def check_size(size: tuple[int, int, int] | None) -> None:
    """Before anything is installed. Raises StepFailed with the sizes that fit."""
    try:
        if size:
            lat_from_px(size[2], size[1], size[0])
    except ValueError as error:
        raise StepFailed(str(error), 2) from None


def prepared() -> tuple[Path, Path]:
    """-> (python of the environment, folder of the host), both ready to use."""
    host = hosts.find_or_bring(ROOT)
    return environment.ensure(ROOT, host), host


def run_demo(args: argparse.Namespace, _: list[str]) -> int:
    check_size(args.size)
    python, host = prepared()
    command: list = [python, "-m", "devtools.demo", "--host", host]
    for name in ("prompt", "seed", "out"):
        if getattr(args, name) is not None:
            value = getattr(args, name)
            command.append(f"--{name}={value.absolute() if name == 'out' else value}")
    if args.size:
        command += ["--size", *args.size]
    return run("demo", command, cwd=ROOT, check=False)


def run_tests(_: argparse.Namespace, rest: list[str]) -> int:
    python, host = prepared()
    environment.bring_browser()
    env = {**os.environ, "COMFYUI_PATH": str(host)}
    return run("test", [python, "-m", "pytest", *rest], cwd=ROOT, env=env, check=False)


def run_serve(args: argparse.Namespace, rest: list[str]) -> int:
    python, host = prepared()
    link_pack(ROOT, host / "custom_nodes")
    command = [python, host / "main.py", "--listen", "127.0.0.1", "--port", args.port, *rest]
    if "--cpu" not in rest and not environment.has_accelerator(python):
        command += ["--cpu", "--use-pytorch-cross-attention"]
    say("serve", f"http://127.0.0.1:{args.port} (Ctrl-C stops)")
    return run("serve", command, cwd=host, check=False)


def run_cost(args: argparse.Namespace, _: list[str]) -> int:
    check_size(args.size)
    python, host = prepared()
    command: list = [python, "-m", "atlasvid_core.cost_table", *args.size, "--model", args.model]
    if args.json:
        command += ["--json", args.json.absolute()]
    env = {**os.environ, "COMFYUI_PATH": str(host)}
    return run("cost", command, cwd=ROOT, env=env, check=False)


def run_bench(args: argparse.Namespace, _: list[str]) -> int:
    python, host = prepared()
    command: list = [python, "-m", "bench", args.name]
    if args.json:
        command += ["--json", args.json.absolute()]
    if args.quick:
        command.append("--quick")
    env = {**os.environ, "COMFYUI_PATH": str(host)}
    return run("bench", command, cwd=ROOT, env=env, check=False)


def run_ablation(_: argparse.Namespace, rest: list[str]) -> int:
    python, host = prepared()
    env = {**os.environ, "COMFYUI_PATH": str(host)}
    command = [python, "-m", "bench.ablation", *rest]
    return run("ablation", command, cwd=ROOT, env=env, check=False)


def run_tiny(args: argparse.Namespace, rest: list[str]) -> int:
    if args.part == "check":
        return run_bench(argparse.Namespace(name="tiny", json=None, quick=False), rest)
    python, _host = prepared()
    out = (args.out or ROOT / "out" / "tiny").absolute()
    command: list = [python, "-u", "-m", "atlasvid_core.tiny", args.part, "--out", out]
    if args.steps:
        command += ["--steps", args.steps]
    return run("tiny", command, cwd=ROOT, check=False)


def run_lint(_: argparse.Namespace, __: list[str]) -> int:
    python, host = prepared()
    status = run("ruff", [python, "-m", "ruff", "check", "."], cwd=ROOT, check=False)
    status |= run("ruff", [python, "-m", "ruff", "format", "--check", "."], cwd=ROOT, check=False)
    # The pack's modules import each other relative to the root, whose own name is no identifier.
    with tempfile.TemporaryDirectory() as folder:
        link_folder(Path(folder) / "atlasvid_pack", ROOT)
        command: list = [python, "-m", "mypy", "--config-file", ROOT / "pyproject.toml"]
        for name in CHECKED:
            command += ["-p", f"atlasvid_pack.{name}"]
        command += ["--cache-dir", ROOT / ".mypy_cache"]
        status |= run("mypy", command, cwd=Path(folder), check=False)
    return status | registry.check(ROOT, host, python)


if __name__ == "__main__":
    sys.exit(main())
