"""`python -m atlasvid_core.train {cache,stage1,guide,refine} --config FILE.toml`.

On several GPUs or hosts: `accelerate launch -m atlasvid_core.train guide --config FILE.toml`.
"""

from __future__ import annotations

import argparse
import runpy
import sys
from pathlib import Path

if not __package__:  # run by its folder's path, as `python -I` must: -m looks in no folder there
    sys.path[0:0] = [str(Path(__file__).resolve().parents[2])]
    runpy.run_module("atlasvid_core.train", run_name="__main__", alter_sys=True)

from .config import STAGES, load
from .packages import check_packages, lacks


def parser() -> argparse.ArgumentParser:
    out = argparse.ArgumentParser(prog="atlasvid_core.train", description=__doc__)
    out.add_argument("command", choices=("cache", *STAGES))
    out.add_argument("--config", type=Path, required=True, help="see train/presets")
    out.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="changes",
        help="change one setting, such as train.steps=100 or \"data.cache='cache/a'\"",
    )  # fmt: skip
    return out


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    try:
        config = load(args.config, args.changes)
        if args.command not in ("cache", config.stage):
            raise ValueError(
                f"{args.config} is for stage {config.stage!r}, the command says {args.command!r}. "
                f"Run `{config.stage}`, or give a config of stage {args.command!r}."
            )
        check_packages(config, args.command)
        if args.command == "cache":
            from .cache import run
        else:
            from .loop import run
        return run(config)
    except FileNotFoundError as error:
        missing = error.filename or error
        if str(missing) == str(args.config):
            missing = f"{missing}: copy one from atlasvid_core/train/presets and name it"
        print(f"atlasvid_core.train: there is no file {missing}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        if error.name != "tomli":  # which reads the config before Python 3.11
            raise
        print(f"atlasvid_core.train: {lacks([error.name])}", file=sys.stderr)
        return 2
    except ValueError as error:
        print(f"atlasvid_core.train: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
