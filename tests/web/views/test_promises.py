"""The page of promises: the result of the last check, and the button that starts the next.

From conftest.py: `reader` is a client of a user who may see every page; `starter` is a client of a
user who may also start jobs; `people` has Ann with an account, Bo who is pending, and Cy in
quarantine.
"""

import pytest

from stores.models import JobRun, Promise, RunStep
from tests.support.damage import damage
from tests.support.invariants import Invariant
from tests.support.make import make_schedule, run
from tests.support.pages import page_at


@pytest.fixture
def checked(people):
    """All promises were checked, and hold."""
    run("pipeline")
    run("verify")


def test_before_any_check_the_page_says_how_to_start(reader):
    page = page_at(reader, "/promises/")

    assert "No job has checked them yet" in page
    assert "run_job verify" in page


@pytest.mark.slow
def test_the_page_shows_each_promise_as_a_sentence(reader, checked):
    page = page_at(reader, "/promises/")

    assert f"All {Promise.objects.count()} hold" in page
    assert str(Promise.objects.get(pk=Invariant.ONE_ACCOUNT_PER_GUID).title) in page
    assert "Broken" not in page


@pytest.mark.slow
def test_a_broken_promise_is_shown_with_its_rows(reader, checked):
    damage("UPDATE number_sequence SET next = next + 5")

    result = run("verify")

    page = page_at(reader, "/promises/")
    assert result["outcome"] == "failed"
    assert Invariant.NUMBERS_HAVE_NO_GAPS in result["message"]
    assert "is broken" in page
    assert "company <strong>USRT</strong>" in page


@pytest.mark.slow
def test_a_promise_keeps_the_time_since_when_it_is_broken(checked):
    damage("UPDATE number_sequence SET next = next + 5")
    run("verify")
    broken_since = Promise.objects.get(pk=Invariant.NUMBERS_HAVE_NO_GAPS).broken_since

    run("verify")

    promise = Promise.objects.get(pk=Invariant.NUMBERS_HAVE_NO_GAPS)
    assert promise.broken_since == broken_since < promise.checked_at


def test_the_button_enqueues_a_check(reader, starter, checked):
    response = starter.post("/runs/start/", {"job": "verify"})

    job_run = JobRun.objects.newest_first()[0]
    assert response["Location"] == job_run.get_absolute_url()
    assert (job_run.job, job_run.status) == ("verify", "queued")
    assert job_run.get_absolute_url() in page_at(reader, "/promises/")


def test_a_dry_run_stores_no_result(people):
    result = run("verify", dry_run=True)

    assert result["counts"]["checked"] > 0
    assert not Promise.objects.exists()


@pytest.mark.slow
def test_before_any_comparison_the_page_says_how_to_start(reader, checked):
    assert "run_job reconcile" in page_at(reader, "/promises/")


@pytest.mark.slow
def test_the_page_shows_the_last_comparison_with_each_channel(reader, checked):
    run("reconcile")
    page_without_differences = page_at(reader, "/promises/")
    damage("DELETE FROM async_contact; DELETE FROM async_address")

    run("reconcile")

    assert page_without_differences.count("Succeeded") == 3
    assert "Differences: 1 acknowledged and unknown to headquarters" in page_at(
        reader, "/promises/"
    )
    assert "Last run of reconcile: partly." in page_at(reader, "/")


@pytest.mark.slow
def test_comparing_one_channel_keeps_the_results_of_the_others(reader, checked):
    all_channels = run("reconcile")
    one_channel = run("reconcile", channels=["popup"])

    steps = reader.get("/promises/").context["steps"]

    assert {step.place: str(step.run_id) for step in steps} == {
        "houston": all_channels["run"],
        "popup": one_channel["run"],
    }


@pytest.mark.slow
def test_a_cancelled_comparison_keeps_the_results_of_the_last(reader, starter, checked):
    all_channels = run("reconcile")
    url = starter.post("/runs/start/", {"job": "reconcile"})["Location"]
    starter.post(f"{url}cancel/")

    steps = reader.get("/promises/").context["steps"]

    assert {str(step.run_id) for step in steps} == {all_channels["run"]}


@pytest.mark.slow
def test_a_busy_comparison_keeps_the_results_of_the_last(reader, checked):
    all_channels = run("reconcile")
    busy = run("reconcile")
    # As if another run had been at work in every channel all the time.
    RunStep.objects.filter(run=busy["run"]).update(status="busy")

    steps = reader.get("/promises/").context["steps"]

    assert {str(step.run_id) for step in steps} == {all_channels["run"]}


def test_the_page_shows_the_next_scheduled_check(reader, hq):
    make_schedule("verify", cron="0 2 * * *")
    make_schedule("reconcile", cron="30 2 * * *", is_enabled=False)

    page = page_at(reader, "/promises/")

    assert "Every day at 02:00 UTC" in page
    assert "02:30" not in page
