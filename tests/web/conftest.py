"""Clients in which users with different permissions are signed in, and some customers."""

from collections.abc import Callable
from uuid import UUID

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from stores.models import JobRun
from stores.models.job import JobCode
from stores.roles import make_groups
from tests.support.make import make_customer, make_event, run


@pytest.fixture
def ann(hq) -> User:
    """A user who may see all pages and export lists, like an auditor."""
    ann = User.objects.create_user("ann")
    ann.user_permissions.add(Permission.objects.get(codename="export"))
    return ann


@pytest.fixture
def reader(ann) -> Client:
    """A client in which ann is signed in."""
    client = Client()
    client.force_login(ann)
    return client


@pytest.fixture
def clerk(hq) -> Client:
    """A client in which clerk is signed in, who may correct transactions."""
    user = User.objects.create_user("clerk")
    user.user_permissions.add(Permission.objects.get(codename="mend_transaction"))
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def starter(ann) -> Client:
    """A client in which ann is signed in, who may also start and cancel jobs."""
    codenames = ("run_job", "control_job", "calc_statement", "post_statement")
    ann.user_permissions.add(*Permission.objects.filter(codename__in=codenames))
    client = Client()
    client.force_login(ann)
    return client


@pytest.fixture
def user_of(hq) -> Callable[[str], Client]:
    """Creates a user in a group. Returns a client in which the user is signed in."""
    make_groups()

    def sign_in(role: str) -> Client:
        user = User.objects.create_user(role)
        user.groups.add(*Group.objects.filter(name=role))
        client = Client()
        client.force_login(user)
        return client

    return sign_in


@pytest.fixture
def people(houston, popup) -> dict[str, UUID]:
    """Ann has an account, Bo's event is pending, and Cy's is in quarantine. Their GUIDs."""
    ann = make_customer(houston, "Ann", email="ann@example.com", phone="+1 281 555 0100")
    make_event("address", houston, async_account=ann)
    make_event("attribute", houston, async_account=ann)
    run("pipeline")
    bo = make_customer(popup, "Bo", email="bo@example.com")
    cy = make_customer(popup, "C" * 61)
    run(JobCode.UPLOAD)
    return {"Ann": ann, "Bo": bo, "Cy": cy}


@pytest.fixture
def queries_of(reader) -> Callable[[str], int]:
    """Counts the database queries of a page."""

    def count(url: str) -> int:
        with CaptureQueriesContext(connection) as queries:
            assert reader.get(url).status_code == 200
        return len(queries)

    return count


@pytest.fixture
def newest_run() -> Callable[[], JobRun]:
    """Gets the run that was created last."""
    return lambda: JobRun.objects.newest_first()[0]
