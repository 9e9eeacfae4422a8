"""Starting, watching and cancelling runs from the page."""

import django_rq
import pytest
from django.db.models.functions import Now

from stores import jobs
from stores.models import JobRun
from tests.make import make_customer, run

HTMX = {"HX-Request": "true"}


def press(client, job="pipeline", **more):
    return client.post("/runs/start/", {"job": job, **more})


def test_the_button_makes_one_run_and_rings_once(reader, ann, houston, newest_run):
    answer = press(reader)

    started = newest_run()
    assert answer["Location"] == started.get_absolute_url()
    assert (started.status, started.started_by, started.requested_by) == ("queued", "page", ann)
    assert django_rq.get_queue("default").job_ids == [str(started.pk)]


def test_a_second_press_leads_to_the_run_that_is_live(reader, houston, newest_run):
    first, second = press(reader), press(reader)

    assert first["Location"] == second["Location"]
    assert JobRun.objects.count() == 1
    assert b"already running" in reader.get(second["Location"]).content


def test_the_run_of_a_channel_visits_that_channel_alone(reader, houston, popup, newest_run):
    press(reader, channel="popup")

    jobs.execute(str(newest_run().pk))

    assert {step.place for step in newest_run().steps.all()} == {"popup", "USRT"}


@pytest.mark.parametrize("wrong", [{"job": "rm -rf"}, {"channel": "nowhere"}, {"job": ""}])
def test_an_unknown_job_or_channel_starts_nothing(reader, houston, wrong):
    answer = press(reader, **({"job": "pipeline"} | wrong))

    assert answer["Location"] == "/jobs/"
    assert not JobRun.objects.exists()


def test_looking_starts_nothing(reader, houston):
    assert reader.get("/runs/start/").status_code == 405
    assert not JobRun.objects.exists()


def test_a_form_from_elsewhere_starts_nothing(reader, houston):
    reader.handler.enforce_csrf_checks = True

    assert press(reader).status_code == 403
    assert not JobRun.objects.exists()


def test_a_live_run_asks_for_itself_again(reader, houston, newest_run):
    press(reader)

    part = reader.get(newest_run().get_absolute_url(), headers=HTMX).content.decode()

    assert part.lstrip().startswith('<div id="progress"')
    assert 'hx-trigger="every 1s"' in part
    assert "Waits for a worker" in part


def test_a_run_that_has_ended_is_not_asked_for_again(reader, houston):
    make_customer(houston)
    path = f"/runs/{run('pipeline')['run']}/"

    for headers in ({}, HTMX):
        page = reader.get(path, headers=headers).content.decode()
        assert "hx-trigger" not in page
        assert "Succeeded" in page
        assert "Cancel" not in page
    assert reader.get(path).context["counts"]["converted"] == 1


def test_the_live_view_can_be_switched_off(reader, houston, newest_run):
    press(reader)

    assert b"hx-trigger" not in reader.get(f"{newest_run().get_absolute_url()}?live=off").content


def test_cancelling_ends_a_run_that_waits(reader, houston, newest_run):
    press(reader)

    reader.post(f"{newest_run().get_absolute_url()}cancel/")

    assert newest_run().status == "cancelled"


def test_cancelling_asks_a_running_run_to_stop(reader, houston, newest_run):
    press(reader)
    JobRun.objects.update(status="running", started_at=Now())

    reader.post(f"{newest_run().get_absolute_url()}cancel/")

    assert newest_run().cancel_requested_at is not None


def test_cancelling_a_run_that_has_ended_says_so(reader, houston):
    path = f"/runs/{run('pipeline')['run']}/"

    answer = reader.post(f"{path}cancel/", follow=True)

    assert b"has ended already" in answer.content


def test_the_traceback_of_a_crash_is_folded(reader, houston):
    path = f"/runs/{run('pipeline')['run']}/"
    JobRun.objects.update(status="failed", error="Traceback of it")

    assert b"<summary>Technical detail</summary>" in reader.get(path).content


def test_the_page_of_jobs_has_a_command_for_each(reader, houston):
    page = reader.get("/jobs/").content.decode()

    for job in ("pipeline", "P-0001", "sync-customers", "1010"):
        assert f"python3 manage.py run_job {job}" in page


def test_a_run_that_refreshes_itself_after_sign_out_shows_no_form_inside(client, houston, hq):
    found = run("pipeline")["run"]

    answer = client.get(f"/runs/{found}/", headers=HTMX, follow=True)

    assert answer["HX-Redirect"] == "/sign-in/"
