"""RQ's own pages, for administrators.

From conftest.py: `houston` is a store on PostgreSQL.
"""

import pickle
import re
import time
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from unittest import mock

import django_rq
import pytest
import rq
from django.contrib.auth.models import Group, User
from django.test import Client
from rq.executions import Execution
from rq.registry import FailedJobRegistry

from stores.jobs import queue
from stores.jobs.catalog import JOBS
from stores.jobs.start import start_job
from stores.roles import make_groups
from tests.support.make import run
from tests.support.processes import manage, running, until

PAGES = (
    "",
    "queues/0/",
    "queues/0/details/",
    "queues/0/failed/",
    "queues/0/started/",
    "workers/0/",
)


class Working:
    """A worker, the message that it takes, and what RQ writes of both."""

    def __init__(self):
        found = django_rq.get_queue("default")
        self.redis = found.connection
        self.message = found.fetch_job(found.job_ids[0])
        self.worker = rq.Worker([found], connection=self.redis, serializer=found.serializer)
        self.worker.register_birth()
        with self.redis.pipeline() as pipeline:
            self.execution = Execution.create(self.message, 60, pipeline, self.worker.name)
            pipeline.execute()


@pytest.fixture
def working(houston) -> Working:
    start_job(JOBS["pipeline"])
    return Working()


class MadeByPickle:
    """Makes a directory where it is unpickled."""

    def __init__(self, directory: Path):
        self.directory = directory

    def __reduce__(self):
        return (Path.mkdir, (self.directory,))


@pytest.fixture
def administrator(hq) -> Client:
    return signed_in("administrator")


def signed_in(role: str) -> Client:
    make_groups()
    user = User.objects.create_user(role, is_staff=role == "administrator")
    user.groups.add(Group.objects.get(name=role))
    client = Client()
    client.force_login(user)
    return client


def test_an_administrator_sees_what_waits_and_who_works(administrator, houston):
    start_job(JOBS["pipeline"])
    [message] = django_rq.get_queue("default").job_ids

    for page in PAGES:
        assert administrator.get(f"/admin/queue/{page}").status_code == 200, page
    assert message in administrator.get("/admin/queue/queues/0/").content.decode()
    shown = administrator.get(f"/admin/queue/queues/0/{message}/").content.decode()
    assert "stores.jobs.run.execute" in shown
    assert "/admin/queue/" in administrator.get("/jobs/").content.decode()


def test_only_queue_pages_may_use_style_sheets_of_their_own(administrator):
    answer = administrator.get("/admin/queue/")
    [style] = re.findall("<style>(.*?)</style>", answer.content.decode(), re.DOTALL)
    digest = b64encode(sha256(style.encode()).digest()).decode()

    assert "style-src 'self' 'sha256-" in answer["Content-Security-Policy"]
    assert f"'sha256-{digest}'" in answer["Content-Security-Policy"]
    assert "unsafe" not in answer["Content-Security-Policy"]
    assert "sha256" not in administrator.get("/jobs/")["Content-Security-Policy"]


@pytest.mark.slow
def test_a_worker_is_listed(administrator, houston):
    with running("manage.py", "worker", "--processes", "1"):
        until(queue.count_workers)
        page = administrator.get("/admin/queue/workers/0/").content.decode()

    assert page.count("/admin/queue/workers/0/") >= 1


def test_a_busy_worker_is_listed_and_has_a_page(administrator, working):
    for name in (working.worker.key, working.worker.name):
        page = administrator.get(f"/admin/queue/workers/0/{name}/").content.decode()
        assert working.message.id in page
    started = administrator.get("/admin/queue/queues/0/started/").content.decode()
    assert working.execution.id in started
    assert "stores.jobs.run.execute" in started


def end_of_the_message(working):
    working.redis.delete(working.message.key)


def last_heartbeat_after_the_end(working):
    working.redis.delete(working.execution.key)
    working.redis.hset(working.execution.key, "last_heartbeat", 1.0)


def last_heartbeat_of_the_message(working):
    working.redis.delete(working.message.key)
    working.redis.hset(working.message.key, "last_heartbeat", 1.0)


@pytest.mark.parametrize(
    "happen", [end_of_the_message, last_heartbeat_after_the_end, last_heartbeat_of_the_message]
)
def test_a_message_that_ends_meanwhile_is_left_out(administrator, working, happen):
    happen(working)

    worker = administrator.get(f"/admin/queue/workers/0/{working.worker.key}/")
    started = administrator.get("/admin/queue/queues/0/started/")

    assert (worker.status_code, started.status_code) == (200, 200)
    assert working.worker.name in worker.content.decode()
    assert working.message.id not in worker.content.decode()
    assert working.execution.id not in started.content.decode()


def test_no_page_unpickles_a_message(administrator, working, tmp_path):
    made = tmp_path / "made"
    working.redis.hset(working.message.key, "data", pickle.dumps(MadeByPickle(made)))

    for page in (f"workers/0/{working.worker.key}/", "queues/0/started/", "queues/0/details/"):
        assert administrator.get(f"/admin/queue/{page}").status_code == 200, page

    assert not made.exists()


def test_a_message_that_cannot_be_read_hides_no_other(administrator, working):
    odd = Execution("odd", "1-odd", working.redis)
    working.redis.hset("rq:job:1-odd", mapping={"data": "[]", "status": "odd"})
    working.redis.zadd("rq:wip:default", {odd.composite_key: time.time() + 60})

    started = administrator.get("/admin/queue/queues/0/started/")

    assert started.status_code == 200
    assert working.execution.id in started.content.decode()


def test_no_page_calls_what_a_message_names_for_its_failure(administrator, working, monkeypatch):
    called = mock.Mock()
    monkeypatch.setattr(rq.job, "import_attribute", called)
    working.redis.hset(
        working.message.key,
        mapping={"status": "started", "failure_callback_name": "os.getcwd"},
    )
    working.redis.zadd("rq:wip:default", {working.execution.composite_key: 1})

    for page in (*PAGES, "stats.json"):
        assert administrator.get(f"/admin/queue/{page}").status_code == 200, page

    assert called.mock_calls == []


@pytest.mark.parametrize("role", ["viewer", "operator", "manager", "auditor"])
def test_nobody_else_sees_the_queue(hq, role):
    client = signed_in(role)

    for page in (*PAGES, "stats.json", "queues/0/empty/", "queues/0/1/"):
        for answer in (client.get(f"/admin/queue/{page}"), client.post(f"/admin/queue/{page}")):
            assert answer.status_code == 403, page
    assert "/admin/queue/" not in client.get("/jobs/").content.decode()


def test_strangers_are_led_to_the_sign_in(hq, client):
    for page in (*PAGES, "stats.json"):
        answer = client.get(f"/admin/queue/{page}")
        assert answer["Location"].startswith(("/sign-in/", "/admin/login/")), page


@pytest.mark.parametrize(
    "page",
    [
        "queues/7/",
        "queues/7/started/",
        "queues/0/no-such-message/",
        "workers/0/nobody/",
        "workers/0/rq:worker:nobody/",
    ],
)
def test_what_is_not_there_is_not_found(administrator, page):
    assert administrator.get(f"/admin/queue/{page}").status_code == 404


def test_without_the_queue_its_page_says_so(administrator, settings):
    nowhere = {"URL": "unix:///nowhere/valkey.sock?db=0"}
    with mock.patch.dict(settings.RQ_QUEUES, {"default": nowhere}):
        answer = administrator.get("/admin/queue/queues/0/")

    assert (answer.status_code, answer.content) == (503, b"The queue is not responding.\n")


def test_a_foreign_message_is_shown_and_nothing_of_it_called(administrator, tmp_path):
    message = django_rq.get_queue("default").enqueue("os.mkdir", str(tmp_path / "made"))

    for page in ("queues/0/", f"queues/0/{message.id}/"):
        assert administrator.get(f"/admin/queue/{page}").status_code == 200

    assert not (tmp_path / "made").exists()


@pytest.mark.slow
def test_a_queue_that_is_emptied_there_loses_nothing(administrator, houston):
    started = start_job(JOBS["pipeline"]).run

    administrator.post("/admin/queue/queues/0/empty/")
    assert django_rq.get_queue("default").job_ids == []
    manage("worker", "--burst", "--processes", "1")

    started.refresh_from_db()
    assert started.status == "nothing_to_do"


@pytest.mark.slow
def test_a_message_that_was_refused_is_among_the_failed_ones(administrator, houston):
    found = django_rq.get_queue("default")
    message = found.enqueue("os.getcwd")
    manage("worker", "--burst", "--processes", "1")

    assert message.id in FailedJobRegistry(queue=found).get_job_ids()
    assert message.id in administrator.get("/admin/queue/queues/0/failed/").content.decode()
    assert run("pipeline")["outcome"] == "nothing_to_do"
