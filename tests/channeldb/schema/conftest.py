"""Every table of events, for the tests of their triggers."""

import pytest

from stores.channeldb.schema.tables import EVENT_TABLES


@pytest.fixture(params=[table.name for table in EVENT_TABLES])
def table(request) -> str:
    return request.param
