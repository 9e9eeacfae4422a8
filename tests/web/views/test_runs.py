"""Starting, watching and cancelling runs on the pages.

From conftest.py: `houston` is a store on PostgreSQL; `popup` is one on SQLite; `ann` is a user who
may see every page; `starter` is a client of a user who may also start jobs; `newest_run` returns
the run that was created last.
"""

import json
from datetime import date

import pytest

from stores.jobs import queue
from stores.jobs.catalog import JOBS
from stores.jobs.claim import claim_step
from stores.jobs.stages import waiting_steps
from stores.jobs.start import create_run
from stores.models import JobRun, RetailTransaction, SalesOrder
from stores.models.job import JobCode
from stores.models.run import StartedBy
from tests.support.make import carry_out, make_customer, make_event, make_sale, run
from tests.support.orders import make_order
from tests.support.pages import links_of, page_at, rows_of
from tests.support.refusals import hq_refuses

HTMX = {"HX-Request": "true"}


def start(client, job="pipeline", **form):
    """Press the button that starts a job."""
    return client.post("/runs/start/", {"job": job} | form)


@pytest.fixture
def workers(monkeypatch) -> None:
    """Two workers are connected to the queue."""
    monkeypatch.setattr(queue, "count_workers", lambda: 2)


@pytest.fixture
def queued_run(starter, houston) -> JobRun:
    """A pipeline that was started on the page and has no worker yet."""
    start(starter)
    return JobRun.objects.get()


@pytest.fixture
def ended_run(houston) -> JobRun:
    """A pipeline that has converted a customer."""
    make_customer(houston)
    return JobRun.objects.get(pk=run("pipeline")["run"])


def test_the_button_creates_and_enqueues_one_run(starter, ann, houston, newest_run):
    response = start(starter)

    job_run = newest_run()
    assert response["Location"] == job_run.get_absolute_url()
    assert (job_run.status, job_run.started_by, job_run.requested_by) == ("queued", "page", ann)
    assert queue.enqueued_steps() == waiting_steps(job_run.pk)
    assert len(queue.enqueued_steps()) == 1


def test_the_list_leaves_out_runs_with_nothing_to_do(starter, ended_run):
    assert run("pipeline")["outcome"] == "nothing_to_do"

    rows = rows_of(starter.get("/runs/", {"status": "not_idle"}))

    assert [row.pk for row in rows] == [ended_run.pk]


def test_the_list_leaves_out_idle_scheduled_runs_unless_asked(starter, ended_run, command):
    idle = create_run(JOBS["pipeline"], started_by=StartedBy.SCHEDULE).run
    carry_out(idle)

    lists = [
        [row.pk for row in rows_of(starter.get("/runs/", {"status": status}))]
        for status in ("", "any", "nothing_to_do")
    ]

    assert lists == [[ended_run.pk], [idle.pk, ended_run.pk], [idle.pk]]
    listed = json.loads(command("runs", "list", "--all", "--json"))["runs"]
    assert [row["id"] for row in listed] == [str(ended_run.pk)]


def test_pressing_the_button_twice_leads_to_the_same_run(starter, houston):
    first = start(starter)
    second = start(starter)

    assert first["Location"] == second["Location"]
    assert JobRun.objects.count() == 1
    assert "already running" in page_at(starter, second["Location"])


def test_a_run_of_one_channel_visits_only_that_channel(starter, houston, popup, newest_run):
    start(starter, channel="popup")

    carry_out(newest_run())

    assert {step.place for step in newest_run().steps.all()} == {"popup", "USRT"}


@pytest.mark.parametrize(
    "form",
    [{"job": "rm -rf"}, {"job": ""}, {"job": "pipeline", "channel": "nowhere"}],
    ids=["unknown job", "no job", "unknown channel"],
)
def test_an_unknown_job_or_channel_starts_nothing(starter, houston, form):
    response = starter.post("/runs/start/", form)

    assert response["Location"] == "/jobs/"
    what = "channel" if "channel" in form else "job"
    assert f"Unknown {what}" in page_at(starter, "/jobs/")
    assert not JobRun.objects.exists()


def test_a_job_without_a_worker_is_not_said_to_be_started(starter, houston):
    page = page_at(starter, start(starter)["Location"])

    assert (
        "Pipeline: saved. No worker is running. The run starts as soon as one is available." in page
    )
    assert "Pipeline started." not in page


def test_a_run_that_has_nothing_to_visit_is_said_to_be_done(starter, hq):
    page = page_at(starter, start(starter)["Location"])

    assert "Pipeline: done. Nothing to do." in page
    assert "Pipeline started." not in page
    assert "No worker" not in page


def test_a_job_is_started_for_one_business_date(starter, houston, workers, newest_run):
    response = start(starter, "eod", channel="houston", date="2026-03-01")

    assert newest_run().business_date == date(2026, 3, 1)
    assert "End of day started for 2026-03-01." in page_at(starter, response["Location"])


@pytest.mark.parametrize(
    ("job", "business_date", "message"),
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
    ids=["no date", "too early", "in the future", "job without dates"],
)
def test_an_invalid_business_date_starts_nothing(starter, houston, job, business_date, message):
    response = start(starter, job, date=business_date)

    assert message in page_at(starter, response["Location"])
    assert not JobRun.objects.exists()


def test_jobs_of_a_business_date_have_a_date_field(starter, houston):
    page = page_at(starter, "/jobs/")

    jobs = {job.code for job in JOBS.values() if f'id="date-{job.code}"' in page}
    assert jobs == {"validate", "calculate-statements", "post-statements", "eod"}
    assert 'min="1900-01-02"' in page


def test_one_order_is_synchronized_from_its_page(starter, houston, workers, newest_run):
    ann = make_customer(houston)
    make_order(houston, "SO 1", async_account=ann)
    make_order(houston, "SO 2", async_account=ann)
    run(JobCode.UPLOAD)
    url = RetailTransaction.objects.get(confirmation_number="SO 1").get_absolute_url()
    page_before = page_at(starter, url)

    response = start(starter, "sync-orders", channel="houston", order="SO 1")
    carry_out(newest_run())

    assert "Synchronize order</button>" in page_before
    run_page = page_at(starter, response["Location"])
    assert "Synchronize orders started for order SO 1." in run_page
    assert f'<a href="{url}">houston, order SO 1</a>' in run_page
    assert "run_job sync-orders --channel houston --order &#x27;SO 1&#x27;" in run_page
    assert SalesOrder.objects.get().confirmation_number == "SO 1"
    assert "Synchronize order</button>" not in page_at(starter, url)


@pytest.mark.parametrize(
    ("job", "message"),
    [
        ("sync-orders", "Unknown customer order."),
        ("pipeline", "Only Synchronize orders takes an order."),
    ],
    ids=["unknown order", "job without orders"],
)
def test_an_invalid_order_starts_nothing(starter, houston, job, message):
    response = start(starter, job, order="SO-1")

    assert message in page_at(starter, response["Location"])
    assert not JobRun.objects.exists()


def test_a_get_request_starts_nothing(starter, houston):
    response = starter.get("/runs/start/")

    assert response.status_code == 405
    assert not JobRun.objects.exists()


def test_a_form_without_a_csrf_token_starts_nothing(starter, houston):
    starter.handler.enforce_csrf_checks = True

    response = start(starter)

    assert response.status_code == 403
    assert not JobRun.objects.exists()


def test_the_page_of_a_live_run_refreshes_itself(starter, queued_run):
    part = page_at(starter, queued_run.get_absolute_url(), headers=HTMX)

    assert part.lstrip().startswith('<div id="progress"')
    assert 'hx-trigger="every 1s"' in part
    assert "Waiting for a worker" in part


@pytest.mark.parametrize("headers", [{}, HTMX], ids=["page", "htmx"])
def test_the_page_of_an_ended_run_does_not_refresh_itself(starter, ended_run, headers):
    page = page_at(starter, ended_run.get_absolute_url(), headers=headers)

    assert "hx-trigger" not in page
    assert "Succeeded" in page
    assert "Cancel" not in page


def test_the_page_of_an_ended_run_shows_its_counts(starter, ended_run):
    response = starter.get(ended_run.get_absolute_url())

    assert response.context["counts"]["converted"] == 1


def test_the_page_of_a_run_leads_to_what_it_left_behind(starter, houston):
    day = date(2026, 3, 1)
    make_sale(houston, business_date=day)
    make_sale(houston, business_date=day, net_amount="11.00")
    make_sale(houston, business_date=day, currency="X")
    result = run("eod", business_date=day)

    links = links_of(starter.get(f"/runs/{result['run']}/"))

    assert (
        links["1 failed: Validate sales"] == "/transactions/failed/?channel=houston&date=2026-03-01"
    )
    assert links["1 quarantined: Upload"] == "/quarantine/?channel=houston&status=open"
    assert links["houston"] == "/channels/houston/"
    assert links["2 staged"] == f"/sessions/uploads/?channel=houston&run={result['run']}"
    assert links["1 posted"] == ("/statements/?channel=houston&since=2026-03-01&until=2026-03-01")


def test_rows_that_several_channels_left_behind_are_listed_together(starter, houston, popup):
    for store in (houston, popup):
        make_customer(store, title="x" * 21)
    result = run("pipeline")

    links = links_of(starter.get(f"/runs/{result['run']}/"))

    assert links["2 quarantined: Upload"] == "/quarantine/?status=open"


def test_events_of_any_kind_that_failed_are_listed_by_cause(starter, houston):
    guid = make_customer(houston)
    make_event("address", houston, async_account=guid)
    with hq_refuses("customer_address", "true"):
        result = run("pipeline")

    response = starter.get(f"/runs/{result['run']}/")

    url = links_of(response)["1 failed: Assign account numbers"]
    assert url == "/quarantine/"
    assert "async_address" in page_at(starter, url)


def test_refreshing_can_be_switched_off(starter, queued_run):
    assert "hx-trigger" not in page_at(starter, f"{queued_run.get_absolute_url()}?live=off")


def test_cancelling_ends_a_queued_run(starter, queued_run):
    starter.post(f"{queued_run.get_absolute_url()}cancel/")

    queued_run.refresh_from_db()
    assert queued_run.status == "cancelled"


def test_cancelling_asks_a_running_run_to_stop(starter, queued_run):
    claim_step(waiting_steps(queued_run.pk)[0], "worker")

    starter.post(f"{queued_run.get_absolute_url()}cancel/")

    queued_run.refresh_from_db()
    assert queued_run.status == "running"
    assert queued_run.cancel_requested_at is not None


def test_an_ended_run_cannot_be_cancelled(starter, ended_run):
    response = starter.post(f"{ended_run.get_absolute_url()}cancel/", follow=True)

    assert "has already ended" in response.content.decode()


def test_the_traceback_of_a_failed_run_is_folded(starter, ended_run):
    JobRun.objects.update(status="failed", error="Traceback of it")

    page = page_at(starter, ended_run.get_absolute_url())

    assert "<summary>Technical details</summary>" in page


@pytest.mark.parametrize("job", ["pipeline", "P-0001", "sync-customers", "1010"])
def test_the_page_of_jobs_shows_the_command_of_each_job(starter, houston, job):
    assert f"python3 manage.py run_job {job}" in page_at(starter, "/jobs/")


def test_the_page_of_jobs_says_that_a_channel_does_not_limit_conversion(starter, houston):
    jobs = page_at(starter, "/jobs/").split("<section")[1:]

    titles = [job for job in jobs if "Conversion always covers the whole company" in job]

    assert ["job-pipeline" in titles[0], "job-sync-customers" in titles[1], len(titles)] == [
        True,
        True,
        2,
    ]


def test_the_page_of_a_run_shows_its_command(starter, houston):
    result = run("eod", channels=["houston"], business_date=date(2026, 3, 1))

    page = page_at(starter, f"/runs/{result['run']}/")

    assert "python3 manage.py run_job eod --channel houston --date 2026-03-01" in page


def test_a_refresh_after_signing_out_redirects_the_whole_page(client, ended_run):
    response = client.get(ended_run.get_absolute_url(), headers=HTMX, follow=True)

    assert response["HX-Redirect"] == "/sign-in/"
