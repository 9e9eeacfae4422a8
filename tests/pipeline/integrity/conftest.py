"""A small installation with data of every kind, for the tests of verify and reconcile."""

import pytest

from stores.models import ChannelDatabase
from stores.models.job import JobCode
from tests.support.make import make_customer, make_event, run


@pytest.fixture
def ring(houston: ChannelDatabase, popup: ChannelDatabase) -> list[ChannelDatabase]:
    """Houston and popup, idle, with Ann and Bo in both and two quarantined addresses at HQ."""
    for store, name in ((houston, "Ann"), (popup, "Bo")):
        guid = make_customer(store, first_name=name)
        make_event("address", store, async_account=guid, is_primary=True)
        make_event("contact", store, async_account=guid)
        make_event("address", store, async_account=guid, county="far too long for HQ")
    assert run(JobCode.PIPELINE)["counts"]["quarantined"] == 2
    assert run(JobCode.PIPELINE)["outcome"] == "nothing_to_do"
    return [houston, popup]
