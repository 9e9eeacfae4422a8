"""Starting, watching and cancelling runs from the page."""

from datetime import date

import django_rq
import pytest
from django.db.models.functions import Now

from stores.jobs.catalog import JOBS
from stores.jobs.run import execute
from stores.models import JobRun, RetailTransaction, SalesOrder
from tests.support.make import make_customer, make_sale, run

HTMX = {"HX-Request": "true"}


def press(client, job="pipeline", **more):
    return client.post("/runs/start/", {"job": job, **more})


def test_the_button_makes_one_run_and_rings_once(starter, ann, houston, newest_run):
    answer = press(starter)

    started = newest_run()
    assert answer["Location"] == started.get_absolute_url()
    assert (started.status, started.started_by, started.requested_by) == ("queued", "page", ann)
    assert django_rq.get_queue("default").job_ids == [str(started.pk)]


def test_a_second_press_leads_to_the_run_that_is_live(starter, houston, newest_run):
    first, second = press(starter), press(starter)

    assert first["Location"] == second["Location"]
    assert JobRun.objects.count() == 1
    assert b"already running" in starter.get(second["Location"]).content


def test_the_run_of_a_channel_visits_that_channel_alone(starter, houston, popup, newest_run):
    press(starter, channel="popup")

    execute(str(newest_run().pk))

    assert {step.place for step in newest_run().steps.all()} == {"popup", "USRT"}


@pytest.mark.parametrize("wrong", [{"job": "rm -rf"}, {"channel": "nowhere"}, {"job": ""}])
def test_an_unknown_job_or_channel_starts_nothing(starter, houston, wrong):
    answer = press(starter, **({"job": "pipeline"} | wrong))

    assert answer["Location"] == "/jobs/"
    assert not JobRun.objects.exists()


def test_a_job_is_started_for_one_business_date(starter, houston, newest_run):
    answer = press(starter, "eod", channel="houston", date="2026-03-01")

    assert newest_run().business_date == date(2026, 3, 1)
    assert "End of day started for 2026-03-01." in starter.get(answer["Location"]).content.decode()


@pytest.mark.parametrize(
    ("job", "typed", "told"),
    [
        ("eod", "31.02.2026", "&#x27;31.02.2026&#x27; is not a date in the form 2026-03-01."),
        (
            "validate",
            "1900-01-01",
            "1900-01-01 cannot be a business date: enter one from 1900-01-02 to",
        ),
        ("post-statements", "2099-01-01", "2099-01-01 cannot be a business date"),
        ("sync-orders", "2026-03-01", "Only validate, "),
    ],
)
def test_a_wrong_business_date_starts_nothing_and_is_told_in_a_sentence(
    starter, houston, job, typed, told
):
    answer = press(starter, job, date=typed)

    assert told in starter.get(answer["Location"]).content.decode()
    assert not JobRun.objects.exists()


def test_the_page_of_jobs_asks_for_a_date_where_a_job_takes_one(starter, houston):
    page = starter.get("/jobs/").content.decode()

    dated = {job.code for job in JOBS.values() if f'id="date-{job.code}"' in page}
    assert dated == {"validate", "calculate-statements", "post-statements", "eod"}
    assert 'min="1900-01-02"' in page


def test_one_order_is_synchronized_from_its_page(starter, houston, newest_run):
    order = {"transaction_type": "customer_order", "async_account": make_customer(houston)}
    for number in ("SO 1", "SO 2"):
        make_sale(houston, confirmation_number=number, **order)
    run("P-0001")
    sale = RetailTransaction.objects.get(confirmation_number="SO 1")
    assert b"Synchronize order</button>" in starter.get(sale.get_absolute_url()).content

    answer = press(starter, "sync-orders", channel="houston", order="SO 1")
    execute(str(newest_run().pk))

    page = starter.get(answer["Location"]).content.decode()
    assert "Synchronize orders started for order SO 1." in page
    assert f'<a href="{sale.get_absolute_url()}">houston, order SO 1</a>' in page
    assert "run_job sync-orders --channel houston --order &#x27;SO 1&#x27;" in page
    assert [one.confirmation_number for one in SalesOrder.objects.all()] == ["SO 1"]
    assert b"Synchronize order</button>" not in starter.get(sale.get_absolute_url()).content


@pytest.mark.parametrize(
    ("job", "told"),
    [
        ("sync-orders", "Unknown customer order."),
        ("pipeline", "Only Synchronize orders takes an order."),
    ],
)
def test_an_order_that_is_not_there_or_not_meant_starts_nothing(starter, houston, job, told):
    answer = press(starter, job, order="SO-1")

    assert told in starter.get(answer["Location"]).content.decode()
    assert not JobRun.objects.exists()


def test_looking_starts_nothing(starter, houston):
    assert starter.get("/runs/start/").status_code == 405
    assert not JobRun.objects.exists()


def test_a_form_from_elsewhere_starts_nothing(starter, houston):
    starter.handler.enforce_csrf_checks = True

    assert press(starter).status_code == 403
    assert not JobRun.objects.exists()


def test_a_live_run_asks_for_itself_again(starter, houston, newest_run):
    press(starter)

    part = starter.get(newest_run().get_absolute_url(), headers=HTMX).content.decode()

    assert part.lstrip().startswith('<div id="progress"')
    assert 'hx-trigger="every 1s"' in part
    assert "Waiting for a worker" in part


def test_a_run_that_has_ended_is_not_asked_for_again(starter, houston):
    make_customer(houston)
    path = f"/runs/{run('pipeline')['run']}/"

    for headers in ({}, HTMX):
        page = starter.get(path, headers=headers).content.decode()
        assert "hx-trigger" not in page
        assert "Succeeded" in page
        assert "Cancel" not in page
    assert starter.get(path).context["counts"]["converted"] == 1


def test_the_live_view_can_be_switched_off(starter, houston, newest_run):
    press(starter)

    assert b"hx-trigger" not in starter.get(f"{newest_run().get_absolute_url()}?live=off").content


def test_cancelling_ends_a_run_that_waits(starter, houston, newest_run):
    press(starter)

    starter.post(f"{newest_run().get_absolute_url()}cancel/")

    assert newest_run().status == "cancelled"


def test_cancelling_asks_a_running_run_to_stop(starter, houston, newest_run):
    press(starter)
    JobRun.objects.update(status="running", started_at=Now())

    starter.post(f"{newest_run().get_absolute_url()}cancel/")

    assert newest_run().cancel_requested_at is not None


def test_cancelling_a_run_that_has_ended_says_so(starter, houston):
    path = f"/runs/{run('pipeline')['run']}/"

    answer = starter.post(f"{path}cancel/", follow=True)

    assert b"has already ended" in answer.content


def test_the_traceback_of_a_crash_is_folded(starter, houston):
    path = f"/runs/{run('pipeline')['run']}/"
    JobRun.objects.update(status="failed", error="Traceback of it")

    assert b"<summary>Technical details</summary>" in starter.get(path).content


def test_the_page_of_jobs_has_a_command_for_each(starter, houston):
    page = starter.get("/jobs/").content.decode()

    for job in ("pipeline", "P-0001", "sync-customers", "1010"):
        assert f"python3 manage.py run_job {job}" in page


def test_the_page_of_a_run_has_the_command_for_the_same(starter, houston):
    found = run("eod", channels=["houston"], business_date=date(2026, 3, 1))["run"]

    page = starter.get(f"/runs/{found}/").content.decode()

    assert "python3 manage.py run_job eod --channel houston --date 2026-03-01" in page


def test_a_run_that_refreshes_itself_after_sign_out_shows_no_form_inside(client, houston, hq):
    found = run("pipeline")["run"]

    answer = client.get(f"/runs/{found}/", headers=HTMX, follow=True)

    assert answer["HX-Redirect"] == "/sign-in/"
