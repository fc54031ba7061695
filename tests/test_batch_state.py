"""What a batch remembers and shows: manifest, board, table."""

import errno
import io
import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from atlasvid_batch.board import MOST_LOSSES, Board
from atlasvid_batch.display import Display, span, table
from atlasvid_batch.files import place_of
from atlasvid_batch.jobs import make_jobs
from atlasvid_batch.manifest import InUse, Manifest
from atlasvid_batch.server import saved_files, standing
from atlasvid_batch.table import Row

ROOT = Path(__file__).resolve().parent.parent
WORKFLOW = {
    "1": {"class_type": "Plan", "inputs": {"width": 64, "reach": "faces"}},
    "2": {"class_type": "SaveVideo", "inputs": {"video": ["1", 0], "filename_prefix": "x"}},
}
A, B = "http://a", "http://b"


def jobs_of(*widths):
    rows = [Row(i, i + 1, {"width": str(w)}) for i, w in enumerate(widths, 1)]
    return make_jobs(rows, WORKFLOW)


@pytest.fixture
def manifest(tmp_path):
    with Manifest(tmp_path / "out" / "manifest.jsonl") as manifest:
        yield manifest


# Manifest


def test_what_was_written_is_known_again_and_a_torn_line_is_not(tmp_path):
    path = tmp_path / "manifest.jsonl"
    with Manifest(path) as manifest:
        batch = manifest.batch
        manifest.add("a", "queueing", server=A)
        manifest.add("a", "queued", server=A, prompt_id="p")
        manifest.add("b", "done", files=["files/x.mp4"])
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"job": "a", "state": "do')
    with Manifest(path) as manifest:
        assert manifest.batch == batch
        assert manifest.records["a"].prompt_id == "p" and manifest.records["a"].state == "queued"
        assert manifest.records["b"].files == ["files/x.mp4"]
        assert path.read_bytes() == whole
        manifest.add("a", "done", files=[])
    assert [json.loads(line) for line in path.read_text().splitlines()][-1]["state"] == "done"


def test_a_folder_belongs_to_one_run(manifest):
    with pytest.raises(InUse, match="another run"), Manifest(manifest.path):
        pass


def test_a_disk_without_locks_is_not_called_a_second_run(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    words = r"out can't be locked \(No locks available\): give --out"
    with pytest.raises(OSError, match=words), Manifest(tmp_path / "out" / "manifest.jsonl"):
        pass


# Board


def board_of(manifest, *widths, tries=2):
    said = []
    return Board(jobs_of(*widths), manifest, tries, said.append), said


def test_a_job_is_given_out_once_and_written_down_before(manifest):
    board, _ = board_of(manifest, 16, 32)
    first, second = board.claim(A), board.claim(B)
    assert first.key != second.key and board.claim(A) is None
    assert manifest.records[first.key].state == "queueing"
    assert [s.job.key for s in board.held_by(A)] == [first.key]


def test_a_killed_run_goes_on_where_it_stood(manifest):
    board, _ = board_of(manifest, 16, 32, 48, 64)
    done, queued, asked = board.claim(A), board.claim(A), board.claim(B)
    board.queued(done, A, "p1")
    board.done(done.key, ["files/x"])
    board.queued(queued, A, "p2")
    again, _ = board_of(manifest, 16, 32, 48, 64)
    assert again.jobs[done.key].earlier
    assert [s.prompt_id for s in again.held_by(A)] == ["p2"]
    assert [s.job.key for s in again.held_by(B)] == [asked.key]  # B may have it
    fresh = again.claim(A)
    assert fresh.key not in (done.key, queued.key, asked.key) and again.claim(A) is None


def test_errors_are_tried_again_later_and_hopeless_ones_never(manifest):
    board, said = board_of(manifest, 16, 32)
    first, second = board.claim(A), board.claim(A)
    board.missed(first.key, "RuntimeError", "out of luck")
    assert board.jobs[first.key].state == "waiting" and board.claim(A) is None  # not yet
    board.jobs[first.key].not_before = 0
    assert board.claim(B).key == first.key
    board.missed(first.key, "RuntimeError", "out of luck")
    board.missed(second.key, "ValueError", "10 is not 4k + 1")
    assert [s.state for s in board.snapshot()] == ["failed", "failed"] and board.over()
    assert "again in 4 s: out of luck" in said[0] and "failed: 10 is not" in said[2]
    assert manifest.records[first.key].error == "out of luck"


def test_a_server_that_dies_costs_a_try_only_of_the_job_that_ran(manifest):
    board, _ = board_of(manifest, 16, 32, tries=1)
    ran, waited = board.claim(A), board.claim(A)
    board.running(ran.key)
    for job in (ran, waited):
        board.missed(job.key, "lost", "gone")
    assert [board.jobs[j.key].state for j in (ran, waited)] == ["failed", "waiting"]
    for _ in range(MOST_LOSSES - 1):
        assert board.claim(A).key == waited.key
        board.missed(waited.key, "lost", "gone")
    assert board.jobs[waited.key].state == "failed"


def test_a_job_that_a_server_can_not_take_goes_to_another(manifest):
    board, _ = board_of(manifest, 16, tries=1)
    key = board.claim(A).key
    board.returned(key, "HTTP 503")
    assert manifest.records[key].state == "waiting" and not board.held_by(A)
    assert manifest.records[key].error == "HTTP 503"
    assert board.claim(B).key == key and board.jobs[key].tries == 1


def test_what_a_server_says_it_has_counts_once(manifest):
    board, _ = board_of(manifest, 16)
    (key,) = board.jobs
    assert not board.adopt(key, A, "p0", "failed")  # an earlier try
    assert board.adopt(key, A, "p1", "running")
    assert not board.adopt(key, B, "p2", "pending")  # B shall cancel it
    assert board.adopt(key, A, "p1", "done")
    board.done(key, [])
    assert not board.adopt(key, A, "p1", "done")


def test_a_part_that_a_server_took_alone_does_not_count(manifest):
    board, _ = board_of(manifest, 16)
    (key,) = board.jobs
    assert not board.adopt(key, A, "p0", "partial") and board.claim(A).key == key
    assert not board.adopt(key, A, "p0", "partial")  # the answer to this try is not known
    board.queued(board.jobs[key].job, A, "p1")
    assert board.adopt(key, A, "p1", "partial")  # all of it was accepted, by what was answered


def test_a_job_that_a_server_turned_away_comes_last_there(manifest):
    board, _ = board_of(manifest, 16, 32)
    first = board.claim(A).key
    board.returned(first, "HTTP 500")
    second = board.claim(A, last={first}).key
    assert second != first and board.claim(A, last={first}).key == first


# What a server says


def test_history_as_standing():
    stamps = [["execution_start", {"timestamp": 5000}], ["execution_success", {"timestamp": 95250}]]
    ok = {"status": {"status_str": "success", "messages": stamps}, "outputs": {"2": {
        "images": [{"filename": "a.mp4", "subfolder": "v", "type": "output"}] * 2
        + [{"filename": "b.png", "subfolder": "", "type": "temp"}],
        "animated": [True], "text": ["hello"],
    }}}  # fmt: skip
    assert standing(ok).files == [{"filename": "a.mp4", "subfolder": "v", "type": "output"}]
    assert standing(ok).seconds == 90.25
    assert standing({"status": {"status_str": "success"}}).seconds is None
    assert saved_files({}) == []
    error = {"node_type": "Plan", "exception_type": "ValueError", "exception_message": "no\n"}
    bad = {"status": {"status_str": "error", "messages": [["execution_error", error]]}}
    assert (standing(bad).kind, standing(bad).error) == ("ValueError", "Plan: no")
    bad["status"]["messages"] = [["execution_interrupted", {}]]
    assert standing(bad).kind == "interrupted"


def test_files_keep_their_folders_and_stay_in_ours():
    def place(folder, name="a_k1_b.mp4"):
        return place_of({"filename": name, "subfolder": folder, "type": "output"}, "k1", "k1_b")

    assert place("night") == "files/night/a_k1_b.mp4" and place("") == "files/a_k1_b.mp4"
    assert place("a\\b") == "files/a/b/a_k1_b.mp4"
    assert place("../../etc", "../x_k1_b") == "files/etc/x_k1_b"
    assert place("/etc") == "files/etc/a_k1_b.mp4" and place("C:/x") == "files/C_/x/a_k1_b.mp4"
    assert place("", "ep1:shot0_k1_b.mp4") == "files/ep1_shot0_k1_b.mp4"
    # Without the job's tag any other job may have a file of that name.
    assert place("night", "film_00001_.mp4") == "files/k1/night/film_00001_.mp4"
    assert place("k1_b", "film.mp4") == "files/k1/k1_b/film.mp4"


# What is seen


def worker(url, away=None, ahead=2):
    server = SimpleNamespace(url=url)
    return SimpleNamespace(server=server, away_since=away, trouble="refused", ahead=ahead)


def test_the_table_counts_and_tells_what_runs(manifest):
    board, _ = board_of(manifest, *range(16, 176, 16))
    keys = [board.claim(A).key for _ in range(4)]
    board.done(keys[0], [], 5.0)
    board.running(keys[1])
    board.jobs[keys[1]].progress = "Stage 2 3/8"
    board.missed(keys[3], "ValueError", "no")
    servers = [worker(A), worker(B, away=0.0), worker("http://c", ahead=0)]
    head, first, second, third = table(board.snapshot(), servers, board.seconds)
    assert head == f"[{'#' * 3}{'.' * 27}] 1 of 10 done, 1 failed, 5.0 s a job, about 40 s left"
    assert "1 done  row 2: Stage 2 3/8 (+1 queued)" in first
    assert "http://b  0 done  away for" in second and second.endswith("refused")
    assert third.endswith("left out")
    assert [span(s) for s in (7, 89, 600, 3725)] == ["7 s", "89 s", "10 min", "1 h 02 min"]


def test_without_a_terminal_lines_are_plain(manifest):
    out = io.StringIO()
    display = Display(out)
    board = Board(jobs_of(16), manifest, 1, display.say)
    board.done(board.claim(A).key, [])
    display.draw(board, [])
    assert "[1/1] row 1: done on http://a\n" in out.getvalue() and "\x1b" not in out.getvalue()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_no_line_of_the_table_takes_two_of_the_screen(manifest, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "xterm")
    rows = [Row(1, 2, {"id": "a\nb\u2028c", "width": "16"}), Row(2, 3, {"width": "32"})]
    out = Terminal()
    display = Display(out)
    board = Board(make_jobs(rows, WORKFLOW), manifest, 1, display.say)
    board.running(board.claim(A).key)
    display.say("server A: out of memory\n\n  in line 3\r\n\x1b[2J")
    display.say("湖上黎明" * 20)
    display.say("e\u0301" * 60)
    for _ in range(2):
        out.truncate(out.seek(0))
        display.draw(board, [worker(A)])
    up, *lines, end = re.split(r"\x1b\[2K|\n\x1b\[2K|\n(?=\x1b\[J)", out.getvalue())
    assert up == "\x1b[5A" and len(lines) == 5 and end == "\x1b[J"  # two of the table, three news
    assert "a b c: running" in lines[1]
    assert lines[2].startswith("server A: out of memory in line 3")
    assert lines[3] == ("湖上黎明" * 20)[:19] and lines[4] == "e\u0301" * 39
    assert all(line.isprintable() for line in lines)
