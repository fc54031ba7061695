"""The command line: `python -m atlasvid_batch TABLE --workflow FILE --server URL ...`."""

from __future__ import annotations

import argparse
import io
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from .board import Board, Standing
from .check import check_jobs
from .display import PERIOD_S, Display
from .jobs import Job, make_jobs
from .listener import Listener
from .manifest import InUse, Manifest, done_jobs
from .mapping import read_workflow
from .options import parser
from .server import BatchServer
from .sheet import write_sheets
from .table import TableError, read_table
from .worker import Worker


def main(argv: Sequence[str] | None = None) -> int:
    if isinstance(sys.stdout, io.TextIOWrapper):  # a code page may lack letters of a job's id
        sys.stdout.reconfigure(errors="replace")
    args, rest = parser().parse_known_args(argv)
    if rest:
        quotes = 'text with spaces needs "quotes", such as --set "Prompt.text=a red ball". '
        parser().error(f"unrecognised: {' '.join(rest)}. {quotes if spaced(args) else ''}")
    urls = distinct([with_scheme(url) for url in args.server or ["http://127.0.0.1:8188"]])
    out: Path = args.out or Path(f"{args.table.stem}_results")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        jobs = wanted_jobs(args)
        done = done_jobs(out / "manifest.jsonl")
        checked = check_jobs([job for job in jobs if job.key not in done], urls)
        silent = ", ".join(checked.silent)
        if checked.problems:
            more = [f"{silent} does not answer and was not asked"] if silent else []
            words = "\n".join([*checked.problems, *more])
            if args.check or not silent:
                raise TableError(words)
            print(f"atlasvid_batch: {words}: the batch waits for it", file=sys.stderr)
        if args.check and silent:
            raise TableError(
                f"{count(jobs)}: the table fits the workflow, but no server answered at "
                f"{silent}, so limits, choices and files were not checked. "
                "Start ComfyUI, or name the one that runs with --server."
            )
        if args.check:
            print(f"{count(jobs)}, nothing wrong")
            return 0
        with Manifest(out / "manifest.jsonl") as manifest:
            return run(wanted_jobs(args, manifest.batch), manifest, urls, out, args)
    except (TableError, InUse) as error:
        print(f"atlasvid_batch: {error}", file=sys.stderr)
        return 2
    except FileNotFoundError as error:
        print(
            f"atlasvid_batch: there is no file {error.filename}: correct its path", file=sys.stderr
        )
        return 2
    except OSError as error:
        print(f"atlasvid_batch: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def with_scheme(url: str) -> str:
    """127.0.0.1:8188, as people type it -> http://127.0.0.1:8188"""
    return (url if "://" in url else f"http://{url}").rstrip("/")


def distinct(urls: Sequence[str]) -> list[str]:
    """Each server once, though it be named twice."""
    known: dict[str, str] = {}
    for url in urls:
        known.setdefault(url.replace("//localhost:", "//127.0.0.1:"), url)
    return list(known.values())


def wanted_jobs(args: argparse.Namespace, batch: str = "") -> list[Job]:
    mapped: dict[str, list[str]] = {}
    for column, address in (_pair(text, "--map") for text in args.map):
        mapped.setdefault(column, []).append(address)
    fixed = dict(_pair(text, "--set") for text in args.fixed)
    workflow = read_workflow(args.workflow)
    return make_jobs(read_table(args.table), workflow, mapped, fixed, args.ignore, batch)


def count(jobs: Sequence) -> str:
    return "1 job" if len(jobs) == 1 else f"{len(jobs)} jobs"


def spaced(args: argparse.Namespace) -> bool:
    return bool(args.map or args.fixed or args.ignore)


def _pair(text: str, option: str) -> tuple[str, str]:
    left, equals, right = text.partition("=")
    if not equals or not left:
        such = "Plan.frames=81" if option == "--set" else "prompt=Prompt.text"
        raise TableError(f"{option} {text!r}: write it with an equals sign, such as {such}")
    return left.strip(), right.strip()


def run(
    jobs: list[Job], manifest: Manifest, urls: list[str], out: Path, args: argparse.Namespace
) -> int:
    display = Display(sys.stdout)
    board = Board(jobs, manifest, args.tries, display.say, urls)
    earlier = sum(s.earlier for s in board.snapshot())
    print(f"{count(jobs)} into {out}" + (f", {earlier} done before" if earlier else ""))
    # Servers that are no longer named may still have jobs of the last run: settle those.
    others = {s.server for s in board.snapshot() if s.state == "queued" and s.server} - {*urls}
    workers = []
    for url in [*urls, *others]:
        server = BatchServer(url, manifest.batch)
        ahead = args.ahead if url in urls else 0
        workers.append(Worker(server, board, out, ahead, args.patience, display.say))
        workers[-1].start()
        Listener(server, board).start()
    try:
        while not board.over():
            display.draw(board, workers)
            for worker in workers:
                if isinstance(worker.broken, OSError):
                    print(f"atlasvid_batch: stopped: {worker.broken}", file=sys.stderr)
                    return 1
                if worker.broken is not None:
                    raise worker.broken
            if not any(w.ahead or board.held_by(w.server.url) for w in workers):
                print("atlasvid_batch: stopped: no server can run these jobs", file=sys.stderr)
                return 1
            time.sleep(PERIOD_S)
    except (KeyboardInterrupt, SystemExit) as stopped:
        farewell(board)
        return 130 if isinstance(stopped, KeyboardInterrupt) else 143
    finally:
        for worker in workers:
            worker.stop()
        for worker in workers:
            worker.join(5)
    display.draw(board, workers)
    status = report(board.snapshot())
    if not args.no_sheet:
        show_sheets(board.snapshot(), out)
    return status


def show_sheets(jobs: Sequence[Standing], out: Path) -> None:
    """Whatever goes wrong with the sheets, or Ctrl-C, changes nothing of how the batch ended."""
    try:
        for sheet in write_sheets(jobs, out, print):
            print(sheet)
    except (KeyboardInterrupt, SystemExit):
        print("\nno more contact sheets: stopped")
    except Exception as error:  # a full disk, a decoder
        print(f"no contact sheet: {error}", file=sys.stderr)


def farewell(board: Board) -> None:
    jobs = board.snapshot()
    done, there = (sum(j.state in s for j in jobs) for s in (("done",), ("queued", "running")))
    print(
        f"\nstopped: {done} of {len(jobs)} done, {there} still on the servers; "
        "the same command goes on"
    )


def report(jobs: Sequence[Standing]) -> int:
    """-> the exit status; what failed goes to stderr."""
    failed = [j for j in jobs if j.state == "failed"]
    for standing in failed:
        row = standing.job.row
        name = "" if standing.job.name == f"row {row.number}" else f" {standing.job.name}"
        print(f"failed: {row}{name}: {standing.error}", file=sys.stderr)
    if failed:
        print(f"{len(failed)} of {count(jobs)} failed; the same command tries again",
              file=sys.stderr)  # fmt: skip
    return 1 if failed else 0
