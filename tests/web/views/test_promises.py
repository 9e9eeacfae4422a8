"""The page of promises: what the last check found, and the button for the next one."""

from datetime import time

import pytest

from stores.models import JobRun, Promise, Schedule
from tests.support.damage import damage
from tests.support.make import run


@pytest.fixture
def checked(people):
    run("pipeline")
    run("verify")


def test_before_the_first_check_the_page_says_how_to_start_one(reader):
    page = reader.get("/promises/").content.decode()

    assert "Nothing has been checked yet" in page
    assert "run_job verify" in page


@pytest.mark.slow
def test_every_promise_is_shown_with_its_sentence(reader, checked):
    page = reader.get("/promises/").content.decode()

    assert f"All {Promise.objects.count()} hold" in page
    assert all(promise.title.split(" (")[0] in page for promise in Promise.objects.filter(pk="I1"))
    assert "Broken" not in page


@pytest.mark.slow
def test_a_broken_promise_names_its_rows_and_since_when(reader, checked):
    damage("UPDATE number_sequence SET next = next + 5")

    found = run("verify")

    assert found["outcome"] == "failed"
    assert "I3" in found["message"]
    broken = Promise.objects.get(pk="I3")
    first = broken.broken_since
    page = reader.get("/promises/").content.decode()
    assert "is broken" in page
    assert "company <strong>USRT</strong>" in page
    run("verify")
    broken.refresh_from_db()
    assert broken.broken_since == first < broken.checked_at


def test_the_button_leaves_the_check_to_a_worker(reader, starter, checked):
    answer = starter.post("/runs/start/", {"job": "verify"})

    queued = JobRun.objects.newest_first()[0]
    assert answer["Location"] == queued.get_absolute_url()
    assert (queued.job, queued.status) == ("verify", "queued")
    assert queued.get_absolute_url() in reader.get("/promises/").content.decode()


def test_a_rehearsal_keeps_nothing(people):
    assert run("verify", dry_run=True)["counts"]["checked"]
    assert not Promise.objects.exists()


@pytest.mark.slow
def test_the_last_comparison_with_each_channel_is_shown_and_a_difference_is_red(reader, checked):
    assert "run_job reconcile" in reader.get("/promises/").content.decode()
    run("reconcile")
    assert reader.get("/promises/").content.decode().count("Succeeded") == 3
    damage("DELETE FROM async_contact; DELETE FROM async_address")

    run("reconcile")

    page, overview = (reader.get(path).content.decode() for path in ("/promises/", "/"))
    assert "Differences: 1 acknowledged and unknown to headquarters" in page
    assert "Last run of reconcile: partly." in overview


def test_the_page_says_when_the_next_check_comes(reader, hq):
    Schedule.objects.create(job="verify", at=time(2, 0))
    Schedule.objects.create(job="reconcile", at=time(2, 30), is_enabled=False)

    page = reader.get("/promises/").content.decode()

    assert "Every day at 02:00 UTC" in page
    assert "02:30" not in page
