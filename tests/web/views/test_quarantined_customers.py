"""A customer whose rows are in quarantine can be found and traced.

From conftest.py: `houston` is a store on PostgreSQL; `command` calls a management command and
returns its output; `reader` is a client of a user who may see every page; `people` has Ann with an
account, Bo who is pending, and Cy in quarantine.
"""

from typing import Any
from uuid import UUID, uuid4

import pytest

from stores.models import AsyncAttribute, ChannelDatabase, Quarantine
from stores.models.job import JobCode
from tests.support.make import make_customer, make_event, run
from tests.support.pages import page_at, rows_of
from tests.support.staged import open_event

pytestmark = pytest.mark.slow


@pytest.fixture
def cy(people) -> UUID:
    """Cy, who is in quarantine and has the same phone number as Ann. The GUID."""
    popup = ChannelDatabase.objects.get(channel__code="popup")
    guid = make_customer(
        popup, "Cy", last_name="L" * 61, email="Cy@Example.com", phone="+1 281 555-0100"
    )
    run(JobCode.UPLOAD)
    return guid


def search_quarantine(client: Any, text: str) -> list[UUID]:
    """The GUIDs of the rows that a search in the list of quarantine finds."""
    return [row.async_account for row in rows_of(client.get("/quarantine/", {"q": text}))]


@pytest.mark.finding(id="U5")
def test_a_trace_links_to_the_quarantined_row(reader, cy):
    row = Quarantine.objects.get(async_account=cy)

    trace = page_at(reader, f"/trace/{cy}/")

    assert trace.count(f'href="/quarantine/{row.pk}/"') == 2
    assert reader.get(f"/quarantine/{row.pk}/").status_code == 200


@pytest.mark.finding(id="U5")
def test_a_trace_links_to_an_event_that_failed_in_conversion(reader, people):
    houston = ChannelDatabase.objects.get(channel__code="houston")
    event = make_event("attribute", houston, async_account=people["Ann"], attribute="SIZE")
    run(JobCode.UPLOAD)
    open_event(AsyncAttribute.objects.get(pk=event), "failed", "attribute_invalid")

    trace = page_at(reader, f"/trace/{people['Ann']}/")

    assert f'href="/quarantine/{event}/"' in trace


@pytest.mark.finding(id="U5")
def test_an_email_address_leads_to_the_trace(reader, cy):
    response = reader.get("/trace/", {"ref": "cy@example.COM"})

    assert response.status_code == 302
    assert response["Location"] == f"/trace/{cy}/"


@pytest.mark.finding(id="U5")
def test_a_quarantined_contact_leads_to_the_trace(reader, people):
    houston = ChannelDatabase.objects.get(channel__code="houston")
    guid = uuid4()
    contact = {"locator": "second@example.com", "staff_id": "s" * 200}
    make_event("contact", houston, async_account=guid, **contact)
    run(JobCode.UPLOAD)

    response = reader.get("/trace/", {"ref": "SECOND@example.com"})

    assert response["Location"] == f"/trace/{guid}/"


@pytest.mark.finding(id="U5")
def test_a_phone_number_of_two_customers_lists_both(reader, people, cy):
    response = reader.get("/trace/", {"ref": "+1 (281) 5550100"})

    guids = {match.async_account for match, _name in response.context["found"]}
    assert guids == {str(cy), str(people["Ann"])}


@pytest.mark.finding(id="U5")
def test_the_list_of_quarantine_finds_whole_values(reader, cy, subtests):
    for text in ("cy@example.com", "12815550100", "cy", "CY " + "l" * 61):
        with subtests.test(text):
            assert search_quarantine(reader, text) == [cy]


@pytest.mark.finding(id="U5")
def test_the_list_of_quarantine_finds_no_parts_of_values(reader, cy, subtests):
    for text in ("c", "y@example.com", "1281", "Ann", "%"):
        with subtests.test(text):
            assert search_quarantine(reader, text) == []


@pytest.mark.finding(id="P15")
def test_a_quarantined_name_is_found_in_any_spelling(reader, houston, subtests):
    guid = make_customer(houston, "Zo\u00eb", last_name="O\u2019Neil", email="nobody")
    make_customer(houston, "Zo", last_name="Neil", email="nobody")
    run(JobCode.UPLOAD)

    for text in ("zoe", "ZO\u00cb", "Zoe\u0308", "o'neil", "Zo\u00eb O\u2019Neil\u200b"):
        with subtests.test(ascii(text)):
            assert search_quarantine(reader, text) == [guid]


@pytest.mark.finding(id="U5")
def test_a_trace_as_json_does_not_name_the_case(cy, command):
    document = command("trace", str(cy), "--json")

    assert str(cy) in document
    assert '"case"' not in document
