"""What breaks: a line to houston, a line to HQ, and a server of one's own that may be killed."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp

import pytest
from django.db import connection

from stores import failpoints
from stores.models import ChannelDatabase
from tests.support.own_server import OwnServer
from tests.support.proxy import Proxy


@pytest.fixture
def line() -> Iterator[Proxy]:
    """A line to the server on which the channels are."""
    with Proxy() as line:
        yield line


@pytest.fixture
def far_houston(line, houston) -> ChannelDatabase:
    """Houston, which HQ reaches over the line."""
    ChannelDatabase.objects.filter(pk=houston.pk).update(url=line.url("ch_houston"))
    return houston


@pytest.fixture
def hq_line(hq) -> Iterator[Proxy]:
    """The line over which HQ's own database is reached."""
    known = dict(connection.settings_dict)
    with Proxy() as line:
        connection.close()
        connection.settings_dict |= {"HOST": "127.0.0.1", "PORT": str(line.port)}
        try:
            yield line
        finally:
            connection.settings_dict |= known
            connection.close()


@pytest.fixture
def impatient(settings) -> None:
    """Visits that wait for fractions of a second where others wait for many."""
    settings.CHANNEL_STATEMENT_S = settings.CHANNEL_GRACE_S = 0.5
    settings.CHANNEL_LOCK_S = 0.2
    settings.CHANNEL_CONNECT_S = 2


@pytest.fixture
def at() -> Iterator[dict]:
    """What happens at the named points between two commits, once."""

    def once(name, deed):
        def do():
            del failpoints.actions[name]
            deed()

        failpoints.actions[name] = do

    yield once
    failpoints.actions.clear()


@pytest.fixture(scope="module")
def own_server() -> Iterator[OwnServer]:
    """A server that no other test uses."""
    server = OwnServer(Path(mkdtemp(prefix="syncline-own-")))
    server.start()
    yield server
    server.remove()
