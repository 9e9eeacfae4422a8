"""Tills, and the real-time service that they call over HTTP."""

from collections.abc import Iterator

import pytest
from django.core.handlers.wsgi import WSGIHandler

from stores.models import ChannelDatabase
from stores.models.job import JobCode
from stores.rts.tokens import make_token
from stores.till.service import HttpService
from tests.support.make import run
from tests.support.registers import offline_register
from tests.support.tills import SYNC, set_up
from tests.support.web_server import serving


@pytest.fixture
def till_1(store) -> Iterator[ChannelDatabase]:
    """Till 1, an offline register of the store."""
    with offline_register(store) as database:
        yield database


@pytest.fixture
def service(houston) -> Iterator[HttpService]:
    """The service for the tills of Houston, which create customers synchronously."""
    set_up(houston, profile=SYNC)
    # HQ issues no number before it has visited its channels.
    run(JobCode.UPLOAD)
    with serving(WSGIHandler()) as address:
        yield HttpService(address, make_token(houston.channel)[1])
