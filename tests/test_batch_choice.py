"""Which server gets which job: a sick one, one that takes none, one that lacks a file."""

import time

import pytest

from atlasvid_batch import board as boards
from atlasvid_batch import intake
from atlasvid_batch import worker as workers
from atlasvid_batch.board import Board
from atlasvid_batch.choice import Marks, Takers
from atlasvid_batch.intake import Health
from atlasvid_batch.manifest import Manifest

from .rough_server import RoughServer, SickServer, SlowServer, as_json, jobs_of

A, B, C = "http://a", "http://b", "http://c"


@pytest.fixture
def quick(monkeypatch):
    """Pauses of seconds are hundredths."""
    for module in (boards, intake):
        monkeypatch.setattr(module, "RETRY_S", 0.04)
        monkeypatch.setattr(module, "MOST_RETRY_S", 3.0)
    monkeypatch.setattr(workers, "TICK_S", 0.02)


@pytest.fixture
def board(tmp_path):
    """Of three jobs and the servers A and B."""
    with Manifest(tmp_path / "m.jsonl") as manifest:
        yield Board(jobs_of("t0", "t1", "t2"), manifest, 2, lambda line: None, (A, B))


# What is decided


def test_a_job_goes_back_to_where_it_failed_only_if_no_other_could_try_it():
    takers, marks = Takers((A, B)), Marks(failed_on={A})
    assert marks.may_go_to(B, takers) and not marks.may_go_to(A, takers)
    takers.answers(B, rests=True)
    assert marks.may_go_to(A, takers)
    takers.answers(B, rests=False)
    assert not marks.may_go_to(A, takers)
    takers.away(B)
    assert marks.may_go_to(A, takers)
    takers.answers(B, rests=False)
    marks.failed_on.add(B)
    assert marks.may_go_to(A, takers) and marks.may_go_to(B, takers)


def test_a_job_never_goes_back_to_where_it_was_refused():
    takers, marks = Takers((A, B)), Marks(refused_by={A})
    takers.away(B)  # and may be back
    assert not marks.may_go_to(A, takers) and not marks.refused_by_all(takers)
    takers.given_up(B)
    assert not marks.may_go_to(A, takers) and marks.refused_by_all(takers)
    assert not Marks().refused_by_all(Takers())


def test_a_refused_job_waits_for_a_server_that_may_be_back(board):
    job = board.claim(A)
    board.away(B, given_up=False)
    board.refused(job.key, "no such file")
    assert board.jobs[job.key].state == "waiting" and board.jobs[job.key].tries == 0
    assert board.claim(A).key != job.key
    board.away(B, given_up=True)
    assert board.jobs[job.key].state == "failed" and board.jobs[job.key].error == "no such file"


def test_a_refused_job_ends_with_its_try_on_a_server_that_takes_no_more(board):
    key = board.claim(A).key
    board.refused(key, "no such file")
    assert board.claim(B).key == key
    board.away(B, given_up=True)  # as one that came back without a pack, and forgot what it had
    assert board.jobs[key].state == "queued"
    board.missed(key, "lost", "it no longer has it")
    assert board.jobs[key].state == "failed"
    assert board.jobs[key].error == "it no longer has it; the other servers refused it"


def test_a_rest_begins_with_the_third_job_in_a_row_and_grows():
    health = Health()
    assert [health.failed(key) for key in "aab"] == [0, 0, 0] and not health.resting()
    health.well()
    assert [health.failed(key) for key in "abcd"] == [0, 0, 4, 0] and health.resting()
    assert health.most(2) == 1 and health.most(0) == 0
    health._not_before = 0.0
    assert health.failed("e") == 8
    health.well()
    assert not health.resting() and health.most(2) == 2


# A sick server


def test_a_sick_server_costs_no_job(batch, quick, capsys):
    """It is done with every job long before the sound ones, and so would get them all."""
    texts = [f"t{i:02}" for i in range(16)]
    with SickServer() as sick, SlowServer(0.2) as a, SlowServer(0.2) as b:
        assert batch(texts, [sick, a, b]) == 0
        assert sorted(a.posts + b.posts) == texts
        assert len(sick.posts) == len(set(sick.posts)) < len(texts)
    assert f"{sick.url} fails job after job" in capsys.readouterr().out


def test_a_jobs_own_fault_ends_it_after_its_tries(batch, events, quick):
    with SickServer(only="bad") as a, SickServer(only="bad") as b:
        assert batch(["bad", *(f"t{i}" for i in range(6))], [a, b], "--tries", "3") == 1
        assert (a.posts + b.posts).count("bad") == 3 and "bad" in a.posts and "bad" in b.posts
    assert len(events("done")) == 6 and len(events("failed")) == 1


def test_sick_servers_alone_end_all_jobs_without_rests(batch, events, quick, monkeypatch):
    monkeypatch.setattr(intake, "RETRY_S", 30.0)
    monkeypatch.setattr(intake, "MOST_RETRY_S", 30.0)
    with SickServer() as server:
        assert batch([f"t{i}" for i in range(6)], [server], "--tries", "2") == 1
        assert len(server.posts) == 12
    assert len(events("failed")) == 6


# A server that takes no jobs


def no_jobs(method, path, query, asked):
    return (500, b"") if path == "/prompt" else None


def test_a_server_that_takes_no_jobs_fails_none_that_a_slow_one_would_do(batch, quick, monkeypatch):
    monkeypatch.setattr(intake, "MOST_RETRY_S", 0.05)
    texts = [f"t{i}" for i in range(6)]
    with RoughServer(no_jobs) as broken, SlowServer(1.0) as sound:
        assert batch(texts, [broken, sound]) == 0
        assert sorted(sound.posts) == texts


def test_jobs_that_all_servers_turn_away_end(batch, events, quick):
    with RoughServer(no_jobs) as a, RoughServer(no_jobs) as b:
        assert batch(["t0"], [a, b]) == 1
    assert len(events("failed")) == 1


# A server that lacks a file


def lacks_file(method, path, query, asked):
    if path == "/prompt" and asked["prompt"]["1"]["inputs"]["text"] == "rare":
        error = {"message": "Custom validation failed", "details": "text - Invalid image file",
                 "extra_info": {"input_name": "text"}}  # fmt: skip
        return 400, as_json({"error": {"message": "x"}, "node_errors": {"1": {"errors": [error]}}})
    return None


def test_a_file_that_one_server_lacks_sends_the_job_to_another(batch):
    with RoughServer(lacks_file) as without, SlowServer(0.3) as full:
        assert batch(["rare", "t1", "t2", "t3"], [without, full], "--tries", "1") == 0
        assert "rare" in full.posts and without.posts  # which goes on with the others


def test_a_server_that_has_not_answered_yet_may_have_the_file(batch):
    def slowly(method, path, query, asked):
        if path == "/history":
            time.sleep(1)

    with RoughServer(lacks_file) as without, RoughServer(slowly) as slow:
        assert batch(["rare"], [without, slow]) == 0


def test_a_file_that_all_servers_lack_fails_its_job_alone(batch, events, capsys):
    with RoughServer(lacks_file) as a, RoughServer(lacks_file) as b:
        assert batch(["rare", "t1"], [a, b]) == 1
    assert len(events("done")) == 1 and len(events("failed")) == 1
    assert "column 'Prompt.text': " in capsys.readouterr().err


def test_a_job_that_one_server_alone_turns_away_goes_to_another(batch, quick):
    def blocked(method, path, query, asked):
        bad = path == "/prompt" and asked["prompt"]["1"]["inputs"]["text"] == "bad"
        return (403, b"blocked by the firewall") if bad else None

    with RoughServer(blocked) as strict, SlowServer(3.0) as sound:
        texts = ["t0", "t1", "t2", "bad", "t4", "t5"]
        assert batch(texts, [strict, sound], "--tries", "1", "--ahead", "1") == 0
        assert "bad" in sound.posts
