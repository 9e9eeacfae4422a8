"""The service behaves as its OpenAPI description says, whatever it is sent.

From conftest.py: `houston_till` is a till of a store on PostgreSQL.
"""

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from portal.wsgi import application
from stores.models import AsyncCustomer
from tests.support.promises import broken_promises

DESCRIPTION = "/rts/v1/openapi.json"
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
]


@pytest.mark.slow
def test_calls_that_the_description_allows_or_forbids_are_answered_as_it_says(houston_till):
    schema = schemathesis.openapi.from_wsgi(DESCRIPTION, application)
    headers = {"Authorization": f"Bearer {houston_till.token}"}
    called = set()

    for operation in schema.get_all_operations():
        for mode in GenerationMode:
            call = calls_of(operation.ok(), mode, headers)
            call()
            called.add((operation.ok().label, mode))

    assert len(called) == 4
    assert AsyncCustomer.objects.exists()
    assert broken_promises() == []


def calls_of(operation: Any, mode: GenerationMode, headers: dict[str, str]) -> Any:
    """A test that calls an operation with many requests, right or wrong ones."""

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=40,
        deadline=None,
        database=None,
        # Each run of the tests sends the same.
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def call(case: Any) -> None:
        if mode is GenerationMode.POSITIVE and isinstance(case.body, dict):
            # What the rules want that no schema can say.
            case.body |= {"last_name": "Lee"}
        case.call_and_validate(headers=headers, checks=CHECKS)

    return call


def test_the_description_needs_no_token_and_is_of_version_3_1(hq, client):
    response = client.get(DESCRIPTION)

    document = response.json()
    assert (response.status_code, document["openapi"]) == (200, "3.1.0")
    assert sorted(document["paths"]) == ["/accounts/{async_account}", "/customers"]
    assert not client.cookies
