"""A batch on servers that misbehave: what is lost, what is told, and that the others go on."""

import time

import pytest

from atlasvid_batch import intake
from atlasvid_batch import worker as workers
from atlasvid_batch.board import Board
from atlasvid_batch.client import Client, JobRefused, Strange
from atlasvid_batch.intake import Intake
from atlasvid_batch.manifest import Manifest
from atlasvid_batch.server import MARK, BatchServer
from atlasvid_batch.worker import Worker

from .rough_server import HANG_UP, SECONDS, RoughServer, as_json, jobs_of, workflow


def texts_of(events, tmp_path) -> list[str]:
    """What the results hold, without the server's port."""
    files = [name for event in events("done") for name in event["files"]]
    assert len(set(files)) == len(files)
    return sorted((tmp_path / "out" / name).read_text().split(" ")[0] for name in files)


# A result is the job's own


def test_a_name_without_the_jobs_tag_never_stands_for_another_job(batch, events, tmp_path):
    texts = [f"t{i:02}" for i in range(12)]
    with RoughServer() as a, RoughServer() as b:  # both begin with film_00001_
        assert batch(texts, [a, b], prefix=["2", 0]) == 0
        assert a.posts and b.posts
    assert texts_of(events, tmp_path) == texts


def test_a_colon_in_a_name_is_replaced_and_nothing_is_lost(batch, events, tmp_path):
    with RoughServer() as server:
        assert batch(["t0", "t1"], [server], prefix="ep1:shot") == 0
    assert texts_of(events, tmp_path) == ["t0", "t1"]
    assert all(e["files"][0].startswith("files/ep1_shot_") for e in events("done"))


@pytest.mark.parametrize(("prefix", "views"), [("film", 1), (["2", 0], 2)])
def test_a_file_that_was_fetched_is_kept_where_its_name_says_whose_it_is(
    batch, events, tmp_path, prefix, views
):
    asked = []

    def note(method, path, query, _):
        if path == "/view":
            asked.append(query["filename"])

    with RoughServer(note) as server:
        assert batch(["t0"], [server], prefix=prefix) == 0
        path = tmp_path / "out" / "manifest.jsonl"
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join(line for line in lines if '"done"' not in line))  # killed before
        assert batch(["t0"], [server], prefix=prefix) == 0
        assert len(asked) == views and server.posts == ["t0"]
    assert texts_of(events, tmp_path) == ["t0"]


def test_seconds_are_the_servers_though_the_client_was_away(batch, events, tmp_path):
    with RoughServer() as server:
        (tmp_path / "out").mkdir()
        with Manifest(tmp_path / "out" / "manifest.jsonl") as manifest:
            (job,) = jobs_of("t0", batch=manifest.batch)
            name = BatchServer(server.url, manifest.batch).submit(job)
            manifest.add(job.key, "queued", server=server.url, prompt_id=name)
        assert batch(["t0"], [server]) == 0 and server.posts == ["t0"]
    assert [e["seconds"] for e in events("done")] == [SECONDS]


# A server that runs a part


def refused_in_part(method, path, query, asked):
    if path == "/prompt":
        errors = [{"message": "Value not in list", "details": "lora: 'x' not in []"}]
        return 200, as_json({"prompt_id": "p1", "node_errors": {"9": {"errors": errors}}})
    return None


def test_a_job_that_would_run_in_part_is_taken_back():
    with RoughServer(refused_in_part) as server:
        with pytest.raises(JobRefused, match="only a part .*'x' not in") as refused:
            Client(server.url).submit(workflow(), "c")
        assert refused.value.in_part and server.deleted == ["p1"]


def test_a_server_that_runs_a_part_alone_is_left_out(batch, capsys):
    with RoughServer(refused_in_part) as broken, RoughServer() as sound:
        texts = [f"t{i:02}" for i in range(12)]
        assert batch(texts, [broken, sound]) == 0
        assert sorted(sound.posts) == texts
    assert f"{broken.url} is left out: only a part" in capsys.readouterr().out


# Answers that are none


@pytest.mark.parametrize("body", [b"<html>please log in</html>", b"[]", b'{"error": "log in"}'])
def test_a_login_page_in_place_of_a_server_leaves_the_others_alone(batch, capsys, body):
    with RoughServer(lambda *_: (200, body)) as page, RoughServer() as sound:
        with pytest.raises(Strange):
            BatchServer(page.url, "b").survey()
        assert batch(["t0", "t1"], [page, sound]) == 0
        assert sorted(sound.posts) == ["t0", "t1"]
    assert f"{page.url} does not answer (no ComfyUI answers /queue" in capsys.readouterr().out


def test_a_result_that_is_not_given_out_stops_no_other(batch, events, tmp_path, capsys):
    def answer(method, path, query, _):
        if path == "/view" and server.saved["", query["filename"]].startswith(b"bad"):
            return 400, b""
        return None

    with RoughServer(answer) as server:
        assert batch(["bad", "t1", "t2"], [server], "--tries", "1") == 1
    assert texts_of(events, tmp_path) == ["t1", "t2"]
    assert "is not given out (HTTP Error 400: Bad Request) by" in capsys.readouterr().err


def test_a_result_that_a_server_has_trouble_with_is_waited_for_beside_the_others(
    batch, events, tmp_path, monkeypatch
):
    monkeypatch.setattr(workers, "WITHHELD_S", 0.2)
    begin, patience_s = time.monotonic(), 2.0

    def answer(method, path, query, _):
        if path != "/view":
            return None
        bad = server.saved["", query["filename"]].startswith(b"bad")
        soon = server.saved["", query["filename"]].startswith(b"soon")
        return (502, b"") if bad or soon and time.monotonic() < begin + 1 else None

    with RoughServer(answer) as server:
        more = ("--tries", "1", "--patience", str(patience_s))
        assert batch(["bad", "soon", "t2", "t3"], [server], *more, "--ahead", "3") == 1
        assert sorted(server.posts) == ["bad", "soon", "t2", "t3"]
    assert texts_of(events, tmp_path) == ["soon", "t2", "t3"]
    (failed,) = events("failed")
    assert "does not give its result: HTTP Error 502" in failed["error"]


def test_patience_counts_from_the_first_silence_until_all_is_well_again(tmp_path):
    """A server that answers one thing and never the other is away, too."""

    def answer(method, asked, query, _):
        return (500, b"") if asked == "/object_info" else None

    with RoughServer(answer) as server, Manifest(tmp_path / "m.jsonl") as manifest:
        jobs = jobs_of("t0", batch=manifest.batch)
        said = []
        board = Board(jobs, manifest, 1, said.append)
        view = BatchServer(server.url, manifest.batch)
        board.queued(board.claim(server.url), server.url, view.submit(jobs[0]))
        worker = Worker(view, board, tmp_path, 1, 1, said.append)
        worker.start()
        end = time.monotonic() + 20
        while board.held_by(server.url) and time.monotonic() < end:
            time.sleep(0.05)
        worker.stop()
        worker.join(10)
        assert f"{server.url} away for 1 s" in " ".join(said) and not board.held_by(server.url)
        assert len([line for line in said if "does not answer" in line]) == 1


def test_a_result_whose_connection_breaks_costs_no_other_job(batch, events, tmp_path, monkeypatch):
    """One job goes on running for longer than --patience beside it."""
    monkeypatch.setattr(workers, "WITHHELD_S", 0.2)
    begin, running = time.monotonic(), []

    def answer(method, path, query, asked):
        if path == "/prompt" and asked["prompt"]["1"]["inputs"]["text"] == "long":
            name, extra = "p-long", asked["extra_data"]
            running[:] = [[0, name, asked["prompt"], extra, list(asked["prompt"])], asked]
            return 200, as_json({"prompt_id": name})
        if path == "/queue" and running and not asked:
            if time.monotonic() < begin + 4:
                told = {"queue_running": running[:1], "queue_pending": []}
                return 200, as_json(told)
            server.history["p-long"] = server.history.pop(server.take(running[1]))
            running.clear()
        bad = path == "/view" and server.saved["", query["filename"]].startswith(b"bad")
        return HANG_UP if bad else None

    with RoughServer(answer) as server:
        more = ("--tries", "1", "--patience", "1", "--ahead", "2")
        assert batch(["long", "bad"], [server], *more) == 1
    assert texts_of(events, tmp_path) == ["long"]
    (failed,) = events("failed")
    assert "does not give its result" in failed["error"]


# A server that takes no jobs


def no_jobs(method, path, query, _):
    return (500, b"boom") if path == "/prompt" else None


def test_a_server_that_takes_no_jobs_costs_none_a_try(batch, events, tmp_path, capsys):
    texts = [f"t{i:02}" for i in range(12)]
    with RoughServer(no_jobs) as broken, RoughServer() as sound:
        assert batch(texts, [broken, sound], "--tries", "1") == 0
    assert texts_of(events, tmp_path) == texts
    assert events("waiting") and all("HTTP Error 500" in e["error"] for e in events("waiting"))
    assert f"{broken.url} takes no jobs (HTTP Error 500" in capsys.readouterr().out


def test_a_job_that_alone_is_turned_away_fails_with_the_servers_words(batch, events, capsys):
    def answer(method, path, query, asked):
        if path == "/prompt" and asked["prompt"]["1"]["inputs"]["text"] == "bad":
            return 403, b"blocked by the firewall"
        return None

    with RoughServer(answer) as server:
        assert batch(["bad", "t1", "t2"], [server], "--tries", "1") == 1
    assert len(events("done")) == 2
    assert "does not take it: HTTP Error 403" in capsys.readouterr().err


@pytest.mark.parametrize("texts", [["bad"], ["t1", "t2", "bad"]])
def test_a_job_that_is_turned_away_ends_after_ten_times(batch, events, monkeypatch, capsys, texts):
    """Though no job comes after it that would tell whose fault it is."""
    monkeypatch.setattr(intake, "RETRY_S", 0.02)
    monkeypatch.setattr(intake, "MOST_RETRY_S", 0.05)

    def answer(method, path, query, asked):
        bad = path == "/prompt" and asked["prompt"]["1"]["inputs"]["text"] == "bad"
        return (413, b"too large") if bad else None

    with RoughServer(answer) as server:
        assert batch(texts, [server]) == 1
        assert server.posts == texts[:-1]
    assert len(events("waiting")) == 9 and len(events("failed")) == 1
    assert "does not take it: HTTP Error 413" in capsys.readouterr().err


def test_a_job_that_was_taken_behind_an_error_is_not_given_again(batch, events):
    def answer(method, path, query, asked):
        if path != "/prompt":
            return None
        server.take(asked)  # the proxy gave up waiting for the answer
        return 504, b"<html>gateway timeout</html>"

    with RoughServer(answer) as server:
        assert batch(["t0", "t1"], [server]) == 0
        assert sorted(server.posts) == ["t0", "t1"]
    assert not events("waiting")


def test_pauses_grow_until_a_job_is_taken_and_blame_needs_proof():
    intake = Intake()
    assert intake.open() and not intake.blames("a")
    assert [intake.turn_away(key) for key in "aba"] == [4, 8, 16] and not intake.open()
    assert not intake.blames("a")  # who knows what else it would take
    intake.took("b")
    assert intake.open() and intake.turned_away == {"a"}
    assert intake.blames("a") and not intake.blames("b")
    intake.turn_away("c")
    assert not intake.blames("a")  # it turns away others, too


# One server under two names


def test_a_job_that_another_worker_follows_on_the_same_server_is_not_cancelled(tmp_path):
    with RoughServer() as server, Manifest(tmp_path / "m.jsonl") as manifest:
        ours, given_up = jobs_of("t0", "t1", batch=manifest.batch)
        board = Board([ours, given_up], manifest, 1, lambda line: None)
        for job, name, follower in ((ours, "p1", server.url), (given_up, "p2", "http://b")):
            board.queued(board.claim(server.url), follower, name)
            extra = {MARK: [manifest.batch, job.key]}
            server.pending.append([0, name, job.workflow, extra, list(job.workflow)])
        server.pending[1][1] = "p0"  # a try that the other server's worker knows nothing of
        alias = BatchServer(f"http://localhost:{server.port}", manifest.batch)
        Worker(alias, board, tmp_path, 1, 1, print)._adopt()
        assert server.deleted == ["p0"]
