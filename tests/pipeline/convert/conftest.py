"""What the tests of the conversion begin with."""

from uuid import UUID

import pytest

from tests.support.conversion import convert
from tests.support.make import make_customer


@pytest.fixture
def ann(popup) -> UUID:
    """The GUID of Ann, who has the account 005001."""
    guid = make_customer(popup, "Ann")
    convert()
    return guid
