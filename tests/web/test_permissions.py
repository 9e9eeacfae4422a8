"""Which roles may open each page and press each button.

From conftest.py: `houston` is a store on PostgreSQL (its first account is 005001).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from uuid import uuid4

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import reverse

from stores.jobs.catalog import JOBS
from stores.jobs.start import create_run, start_job
from stores.models import JobRun
from stores.models.job import JobCode
from stores.roles import ROLE_PERMISSIONS, make_groups
from stores.urls import urlpatterns
from tests.support.make import carry_out, make_customer, run

pytestmark = [pytest.mark.slow, pytest.mark.finding(id="S1")]

ALL_ROLES = set(ROLE_PERMISSIONS)
RUNNERS = {"operator", "manager"}
JOB_RUNNERS = {*RUNNERS, "administrator"}
EXPORTERS = {"manager", "auditor"}

# Every role may open these URLs; exporters may download the lists as CSV.
LISTS = [
    "async-customers",
    "balance",
    "channels",
    "conflicts",
    "customers",
    "downloads",
    "fields-to-correct",
    "incidents",
    "orders",
    "quarantine",
    "runs",
    "statements",
    "transactions",
    "uploads",
]
PAGES = [
    "channel",
    "conflict",
    "correction",
    "customer",
    "download",
    "end-of-day",
    "failed-cause",
    "failed-sales",
    "healthz",
    "home",
    "incident",
    "jobs",
    "order",
    "parameters",
    "promises",
    "quarantine-case",
    "quarantine-cause",
    "run",
    "schedule",
    "schedules",
    "statement",
    "trace",
    "trace-search",
    "transaction",
]
# Only the roles that may send these forms may open them.
FORMS = {
    "add-schedule": {"administrator"},
    "add-channel": {"administrator"},
    "add-database": {"administrator"},
    "archive-channel": {"administrator"},
    "change-address": {"administrator"},
    "change-customer": {"manager"},
    "change-schedule": {"administrator"},
    "correct-transaction": {"manager"},
    "pause-channel": {"administrator"},
    "quarantine-correct": RUNNERS,
    "remove-schedule": {"administrator"},
    "send-everything": RUNNERS,
    "till": {"administrator", "manager", "operator"},
    "tokens": {"administrator", "manager"},
}
BUTTONS = FORMS | {
    "cancel-download": RUNNERS,
    "cancel-run": RUNNERS,
    "cancel-statement": {"manager"},
    "close-conflict": {"manager"},
    "close-incident": {"administrator"},
    "delete-download": RUNNERS,
    "failed-cause": {"manager"},
    "let-go": {"manager"},
    "pause-schedule": {"administrator"},
    "push-customer": RUNNERS,
    "quarantine-dismiss": {"manager"},
    "quarantine-release": RUNNERS,
    "quarantine-reopen": {"manager"},
    "release-order": {"manager"},
    "rerun-download": RUNNERS,
    "resend-customer": RUNNERS,
    "restore-schedules": {"administrator"},
    "sign-out": ALL_ROLES,
    "undo-correction": {"manager"},
}
JOB_STARTERS = dict.fromkeys(JOBS, JOB_RUNNERS) | {
    "calculate-statements": RUNNERS,
    "post-statements": {"manager"},
    "eod": {"manager"},
}
# These are for people who are not signed in.
SIGN_IN_URLS = {"sign-in", "sign-in-link"}
ADMIN_MODELS = [
    "affiliation",
    "attributedefinition",
    "channel",
    "channeldatabase",
    "company",
    "customergroup",
    "featureset",
    "functionalityprofile",
    "jobrun",
    "parameter",
    "schedule",
    "schedulerjob",
]
URL_ARGUMENTS = {
    "ref": "nobody@example.com",
    "account": "005001",
    "number": 1,
    "case": "1",
    "pk": 1,
    "code": "houston",
    "token": "x",
}


@pytest.fixture
def clients(hq) -> dict[str, Client]:
    """A signed-in client for each role."""
    make_groups()
    clients = {}
    for role in ROLE_PERMISSIONS:
        user = User.objects.create_user(role, is_staff=role == "administrator")
        user.groups.add(*Group.objects.filter(name=role))
        clients[role] = Client()
        clients[role].force_login(user)
    return clients


def url_of(name: str) -> str:
    """A URL with this name, with example arguments."""
    pattern = next(pattern for pattern in urlpatterns if pattern.name == name)
    arguments = {key: URL_ARGUMENTS.get(key, uuid4()) for key in pattern.pattern.converters}
    if name in ("run", "cancel-run"):
        arguments["pk"] = uuid4()
    return reverse(name, kwargs=arguments)


@dataclass(frozen=True)
class Access:
    """A request, and the roles that may send it."""

    method: str
    url: str
    roles: set[str]
    data: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.method} {self.url} {self.data}"


def access_table() -> Iterator[Access]:
    """Every request that the portal answers."""
    for name in (*LISTS, *PAGES):
        yield Access("get", url_of(name), ALL_ROLES)
    for name in LISTS:
        yield Access("get", url_of(name), EXPORTERS, {"_export": "csv"})
    for name, roles in FORMS.items():
        yield Access("get", url_of(name), roles)
    for name, roles in BUTTONS.items():
        query = "?cause=gross_differs:gross_amount:header" if name == "failed-cause" else ""
        yield Access("post", url_of(name) + query, roles)
    for job, roles in JOB_STARTERS.items():
        # The date is invalid, so that the job does not start.
        yield Access("post", url_of("start-run"), roles, {"job": job, "date": "no day"})


def test_each_url_is_open_to_its_roles_only(clients, houston):
    mistakes = []
    for access in access_table():
        for role, client in clients.items():
            response = getattr(client, access.method)(access.url, access.data)
            if access.url == url_of("sign-out"):
                client.force_login(User.objects.get(username=role))
            is_forbidden = response.status_code == 403
            if is_forbidden == (role in access.roles):
                mistakes.append(f"{access} as {role}: {response.status_code}")
            elif is_forbidden and "granted to" not in response.content.decode():
                mistakes.append(f"{access} as {role}: the page does not name the groups")

    assert mistakes == []
    assert not JobRun.objects.exists()


def test_the_access_table_has_every_url():
    names = {pattern.name for pattern in urlpatterns}

    assert names - SIGN_IN_URLS == {*LISTS, *PAGES, *BUTTONS, "start-run"}


def test_the_access_table_has_every_button(clients):
    buttons = set()
    for name in {pattern.name for pattern in urlpatterns} - SIGN_IN_URLS:
        # The response to OPTIONS, allowed or not, names the methods of the view.
        response = clients["viewer"].options(url_of(name))
        if "POST" in response.headers.get("Allow", ""):
            buttons.add(name)

    assert buttons == {*BUTTONS, "start-run"}


def test_only_administrators_open_the_admin(clients, houston):
    roles = {model: set() for model in ADMIN_MODELS}
    for model in ADMIN_MODELS:
        for role, client in clients.items():
            response = client.get(reverse(f"admin:stores_{model}_changelist"))
            if response.status_code == 200:
                roles[model].add(role)

    assert roles == {model: {"administrator"} for model in ADMIN_MODELS}


def test_a_user_who_may_not_open_the_admin_reads_so_in_the_portal(clients):
    response = clients["viewer"].get("/admin/", follow=True)

    page = response.content.decode()
    assert response.status_code == 403
    assert "You do not have permission to open the settings." in page
    assert "<nav" in page


def test_the_admin_asks_strangers_to_sign_in_on_the_page_of_the_portal(hq, client):
    response = client.get("/admin/login/?next=/admin/stores/channel/")

    assert response["Location"] == "/sign-in/?next=/admin/stores/channel/"


def test_a_viewer_cannot_start_or_cancel_a_run(clients, houston):
    make_customer(houston)
    queued = start_job(JOBS["pipeline"], user=User.objects.get(username="manager")).run

    start = clients["viewer"].post("/runs/start/", {"job": "eod"})
    cancel = clients["viewer"].post(f"/runs/{queued.pk}/cancel/")

    refusal = "You do not have permission to start End of day. It is granted to the group manager."
    page = start.content.decode()
    assert refusal in page
    assert "<nav" in page
    assert "It is granted to the groups manager and operator." in cancel.content.decode()
    job_run = JobRun.objects.get()
    assert (job_run.job, job_run.status) == ("pipeline", "queued")


@pytest.mark.parametrize(
    ("job", "permission"), [("pipeline", "run_job"), ("eod", "post_statement")]
)
def test_a_run_is_refused_if_its_user_lost_a_permission(clients, houston, job, permission):
    user = User.objects.get(username="manager")
    job_run = create_run(JOBS[job], user=user).run
    group_permissions = Group.objects.get(name="manager").permissions
    group_permissions.remove(group_permissions.get(codename=permission))

    carry_out(job_run)

    make_groups()
    job_run.refresh_from_db()
    assert job_run.status == "failed"
    assert str(job_run.message) == "Refused: manager no longer has permission to start this."


def test_a_button_is_shown_only_to_roles_that_may_use_it(clients, houston):
    make_customer(houston)
    queued = create_run(JOBS[JobCode.DOWNLOAD], user=User.objects.get(username="manager")).run
    run(JobCode.UPLOAD)
    expected = {
        ("/", "Run pipeline"): JOB_RUNNERS,
        ("/end-of-day/", "Run end of day"): {"manager"},
        ("/promises/", "Check now"): JOB_RUNNERS,
        ("/channels/houston/", "Run pipeline for this channel"): JOB_RUNNERS,
        ("/channels/houston/", "Run 1070 for this channel"): JOB_RUNNERS,
        ("/channels/houston/", "Run 1110 for this channel"): JOB_RUNNERS,
        ("/schedules/", "Restore defaults"): {"administrator"},
        ("/jobs/", 'aria-label="Run Pipeline"'): JOB_RUNNERS,
        ("/runs/", "Start a job"): JOB_RUNNERS,
        ("/jobs/", 'aria-label="Run Post transactional statements"'): {"manager"},
        (f"/runs/{queued.pk}/?live=off", 'id="cancel"'): RUNNERS,
        ("/customers/", "_export=csv"): EXPORTERS,
    }

    shown = {
        (url, button): {
            role for role, client in clients.items() if button in client.get(url).content.decode()
        }
        for url, button in expected
    }

    assert shown == expected
