"""Fixtures that break things: network proxies, failpoints and a server that may be killed."""

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import mkdtemp

import pytest
from django.db import connection

from stores import failpoints
from stores.models import ChannelDatabase
from stores.pipeline.register import register_channel
from tests.support.own_server import OwnServer
from tests.support.proxy import Proxy


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    """A proxy in front of the server that has the channels' databases."""
    with Proxy() as proxy:
        yield proxy


@pytest.fixture
def proxied_houston(proxy, houston) -> ChannelDatabase:
    """Houston, which HQ reaches through the proxy."""
    ChannelDatabase.objects.filter(pk=houston.pk).update(url=proxy.url("ch_houston"))
    return houston


@pytest.fixture
def hq_proxy(hq) -> Iterator[Proxy]:
    """A proxy through which Django reaches HQ's own database."""
    original = dict(connection.settings_dict)
    with Proxy() as proxy:
        connection.close()
        connection.settings_dict |= {"HOST": "127.0.0.1", "PORT": str(proxy.port)}
        try:
            yield proxy
        finally:
            connection.settings_dict |= original
            connection.close()


@pytest.fixture
def short_timeouts(settings) -> None:
    """Channels time out after fractions of a second."""
    settings.CHANNEL_STATEMENT_S = settings.CHANNEL_GRACE_S = 0.5
    settings.CHANNEL_LOCK_S = 0.2
    settings.CHANNEL_CONNECT_S = 2


@pytest.fixture
def at_failpoint() -> Iterator[Callable[[str, Callable[[], object]], None]]:
    """Calls a function the first time that a failpoint is reached."""

    def call_once(name: str, function: Callable[[], object]) -> None:
        def action() -> None:
            del failpoints.actions[name]
            function()

        failpoints.actions[name] = action

    yield call_once
    failpoints.actions.clear()


@pytest.fixture(scope="module")
def own_server() -> Iterator[OwnServer]:
    """A PostgreSQL server that no other test uses."""
    server = OwnServer(Path(mkdtemp(prefix="syncline-own-")))
    server.start()
    yield server
    server.remove()


@pytest.fixture
def register_austin(own_server) -> Callable[[str], ChannelDatabase]:
    """Registers the store austin, with a database of this name on the own server."""

    def register(name: str) -> ChannelDatabase:
        return register_channel(
            code="austin",
            name="Austin",
            kind="store",
            company="USRT",
            database=own_server.url(name),
        )

    return register
