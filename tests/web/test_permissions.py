"""Who may open and send what, walked from one table over all addresses and roles (S1)."""

from collections.abc import Iterator
from uuid import uuid4

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import reverse

from stores.jobs.catalog import JOBS
from stores.jobs.run import execute
from stores.jobs.start import start, start_and_ring
from stores.models import JobRun
from stores.roles import RIGHTS, make_groups
from stores.urls import urlpatterns
from tests.support.make import make_customer, run

pytestmark = pytest.mark.slow

EVERYBODY = set(RIGHTS)
RUNNERS = {"operator", "manager"}
EXPORTERS = {"manager", "auditor"}

# Addresses that everybody may open, and whose lists exporters have as CSV.
LISTS = (
    *("async-customers", "customers", "conflicts", "quarantine", "incidents", "transactions"),
    *("orders", "statements", "runs", "uploads", "downloads", "channels", "balance"),
    "fields-to-correct",
)
PAGES = (
    *("home", "trace-search", "trace", "customer", "conflict", "quarantine-cause"),
    *("quarantine-case", "incident", "transaction", "failed-sales", "failed-alike", "order"),
    *(
        "correction",
        "statement",
        "end-of-day",
        "jobs",
        "schedules",
        "run",
        "channel",
        "promises",
        "healthz",
    ),
)
# Pages that are for those who may send them.
FORMS = {
    "change-customer": {"manager"},
    "quarantine-correct": RUNNERS,
    "mend-transaction": {"manager"},
}
BUTTONS = FORMS | {
    "close-conflict": {"manager"},
    "quarantine-release": RUNNERS,
    "quarantine-dismiss": {"manager"},
    "close-incident": {"administrator"},
    "failed-alike": {"manager"},
    "let-go": {"manager"},
    "undo-correction": {"manager"},
    "quarantine-reopen": {"manager"},
    "release-order": {"manager"},
    "cancel-statement": {"manager"},
    "cancel-run": RUNNERS,
    "sign-out": EVERYBODY,
}
STARTS = dict.fromkeys(JOBS, RUNNERS) | {"post-statements": {"manager"}, "eod": {"manager"}}
# Whoever is not signed in comes here; whoever is, is led on.
DOORS = {"sign-in", "sign-in-link"}
SET_UP = ("company", "channel", "channeldatabase", "attributedefinition", "schedule", "jobrun")
VALUES = {
    "ref": "nobody@example.com",
    "account": "005001",
    "number": 1,
    "case": "1",
    "pk": 1,
    "code": "houston",
    "token": "x",
}


@pytest.fixture
def people(hq) -> dict[str, Client]:
    """A signed-in client for each role of the demo."""
    make_groups()
    found = {}
    for role in RIGHTS:
        user = User.objects.create_user(role, is_staff=role == "administrator")
        user.groups.add(*Group.objects.filter(name=role))
        found[role] = Client()
        found[role].force_login(user)
    return found


def path_of(name: str) -> str:
    pattern = next(one for one in urlpatterns if one.name == name)
    kwargs = {
        word: VALUES.get(word, uuid4()) if name not in ("run", "cancel-run") else uuid4()
        for word in pattern.pattern.converters
    }
    return reverse(name, kwargs=kwargs)


def table() -> Iterator[tuple[str, str, dict[str, str], set[str]]]:
    """Method, address and form of everything that can be asked, and the roles that may."""
    for name in (*LISTS, *PAGES):
        yield "get", path_of(name), {}, EVERYBODY
    for name in LISTS:
        yield "get", path_of(name), {"_export": "csv"}, EXPORTERS
    for name, roles in FORMS.items():
        yield "get", path_of(name), {}, roles
    for name, roles in BUTTONS.items():
        query = "?cause=gross_differs:gross_amount:header" if name == "failed-alike" else ""
        yield "post", path_of(name) + query, {}, roles
    for job, roles in STARTS.items():
        # No day is called so: who may start the job is told that, and nothing is started.
        yield "post", path_of("start-run"), {"job": job, "date": "no day"}, roles


def test_s1_every_address_is_open_to_the_roles_of_the_table_and_no_others(people, houston):
    wrong = []
    for method, path, form, roles in table():
        for role, client in people.items():
            answer = getattr(client, method)(path, form)
            if path == path_of("sign-out"):
                client.force_login(User.objects.get(username=role))
            if (answer.status_code == 403) == (role in roles):
                wrong.append(f"{role} {method} {path} {form}: {answer.status_code}")
            elif answer.status_code == 403 and "granted to" not in answer.content.decode():
                wrong.append(f"{role} {method} {path} is not told who may")
    assert wrong == []
    assert not JobRun.objects.exists()


def test_s1_every_address_and_every_button_has_its_row(people):
    named = {one.name for one in urlpatterns} - DOORS
    assert named == {*LISTS, *PAGES, *BUTTONS, "start-run"}

    takes_post = set()
    for name in named:
        # Views refuse this method with the list of those that they know.
        answer = people["viewer"].options(path_of(name))
        if "POST" in answer.headers.get("Allow", ""):
            takes_post.add(name)
    assert takes_post == {*BUTTONS, "start-run"}


def test_s1_the_set_up_is_for_administrators(people, houston):
    for name in SET_UP:
        path = reverse(f"admin:stores_{name}_changelist")
        opened = {role for role, client in people.items() if client.get(path).status_code == 200}
        assert opened == {"administrator"}, name


def test_s1_a_viewer_starts_and_cancels_nothing(people, houston):
    make_customer(houston)
    live = start_and_ring(JOBS["pipeline"], user=User.objects.get(username="manager")).run

    refused = people["viewer"].post("/runs/start/", {"job": "eod"})
    stopped = people["viewer"].post(f"/runs/{live.pk}/cancel/")

    told = refused.content.decode()
    assert (
        "You do not have permission to start End of day. It is granted to the group manager."
        in told
    )
    assert "<nav" in told
    assert "It is granted to the groups manager and operator." in stopped.content.decode()
    assert [(one.job, one.status) for one in JobRun.objects.all()] == [("pipeline", "queued")]


@pytest.mark.parametrize(("job", "lost"), [("pipeline", "run_job"), ("eod", "post_statement")])
def test_s1_a_run_asks_again_for_each_right_of_its_job_when_it_begins(people, houston, job, lost):
    manager = User.objects.get(username="manager")
    waiting = start(JOBS[job], user=manager).run
    Group.objects.get(name="manager").permissions.remove(
        *Group.objects.get(name="manager").permissions.filter(codename=lost)
    )

    execute(str(waiting.pk))
    make_groups()

    waiting.refresh_from_db()
    assert (waiting.status, waiting.message) == (
        "failed",
        "Refused: manager no longer has permission to start this.",
    )


def test_s1_buttons_are_shown_to_those_who_may_press_them(people, houston):
    make_customer(houston)
    waiting = start(JOBS["1010"], user=User.objects.get(username="manager")).run
    run("P-0001")
    shown = {
        ("/", "Run pipeline"): RUNNERS,
        ("/end-of-day/", "Run end of day"): {"manager"},
        ("/promises/", "Check now"): RUNNERS,
        ("/channels/houston/", "Run pipeline for this channel"): RUNNERS,
        ("/jobs/", 'aria-label="Run Pipeline"'): RUNNERS,
        ("/jobs/", 'aria-label="Run Post transactional statements"'): {"manager"},
        (f"/runs/{waiting.pk}/?live=off", 'id="cancel"'): RUNNERS,
        ("/customers/", "_export=csv"): EXPORTERS,
    }
    for (path, button), roles in shown.items():
        found = {
            role for role, client in people.items() if button in client.get(path).content.decode()
        }
        assert found == roles, (path, button)
