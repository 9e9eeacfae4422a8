"""Tills that call the real-time service."""

import pytest
from django.db.models import F

from stores.models import ChannelDatabase, NumberSequence
from stores.models.job import JobCode
from tests.support.make import run
from tests.support.rts import Till


@pytest.fixture
def till(store) -> Till:
    """A till of the store, which HQ has visited since its database server was started."""
    run(JobCode.UPLOAD)
    return Till.of(store)


@pytest.fixture
def houston_till(houston) -> Till:
    run(JobCode.UPLOAD)
    return Till.of(houston)


@pytest.fixture
def seattle_till(houston, seattle) -> Till:
    run(JobCode.UPLOAD)
    return Till.of(seattle)


@pytest.fixture
def without_numbers(houston) -> ChannelDatabase:
    """Houston, whose company has no account number left."""
    NumberSequence.objects.update(largest=F("next") - 1)
    return houston
