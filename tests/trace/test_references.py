"""A customer is traced by GUID, account, e-mail address or phone number.

From conftest.py: `houston` is a store on PostgreSQL (its first account is 005001); `command` calls
a management command and returns its output.
"""

from uuid import UUID

import pytest
from django.core.management import CommandError, call_command

from stores.models import Company
from stores.models.job import JobCode
from stores.pipeline.convert.accounts import import_account
from stores.trace.match import matches
from tests.support.make import make_customer, make_event, make_sale, run
from tests.support.traces import get_trace, trace_document


@pytest.mark.parametrize("form", ["{}", "{{{}}}", " {} "], ids=["plain", "braces", "spaces"])
def test_a_guid_may_be_in_upper_case_and_in_braces(houston, form):
    guid = make_customer(houston)
    run(JobCode.UPLOAD)

    assert get_trace(form.format(str(guid).upper())).async_accounts == [str(guid)]


@pytest.mark.slow
@pytest.mark.parametrize("ref", ["ANN@Example.COM", "+1 (713) 555-0100", "1713.5550100", "005001"])
def test_a_customer_is_found_by_contact_or_account(houston, ref):
    guid = make_customer(houston, email="ann@example.com", phone="+1 713 555 0100")
    run("pipeline")

    assert get_trace(ref).async_accounts == [str(guid)]


@pytest.mark.parametrize("ref", ["ann@example.com", "SECOND@example.com", "713-555-0100"])
def test_a_pending_customer_is_found_by_contact(houston, ref):
    guid = make_customer(houston, email="Ann@example.com", phone="(713) 555 0100")
    make_event("contact", houston, async_account=guid)
    run(JobCode.UPLOAD)

    assert get_trace(ref).async_accounts == [str(guid)]


@pytest.mark.parametrize("ref", ["009999", "no\0body", "@", "{}", str(UUID(int=1)), "\udcff"])
def test_an_unknown_reference_ends_with_a_message_and_status_1(houston, ref):
    with pytest.raises(CommandError) as error:
        call_command("trace", ref)

    assert str(error.value) == (
        "No customer matches this reference. Add --look-in-channels to search what channels have "
        "not sent yet. The portal finds customers by name."
    )
    assert error.value.returncode == 1


def test_a_search_in_the_channels_does_not_advise_itself(houston):
    with pytest.raises(CommandError) as error:
        call_command("trace", "009999", "--look-in-channels")

    assert str(error.value) == "No customer matches this reference."


@pytest.mark.parametrize("ref", ["", "  "])
def test_an_empty_reference_ends_with_a_message_and_status_2(hq, ref):
    with pytest.raises(CommandError, match="phone number, or the number of a sale") as error:
        call_command("trace", ref)

    assert error.value.returncode == 2


def test_an_account_of_an_unknown_company_is_refused(houston):
    with pytest.raises(CommandError, match="there is no company 'NOPE'"):
        call_command("trace", "NOPE:C-000001")


def test_an_unknown_account_of_a_known_company_is_not_found(houston):
    with pytest.raises(CommandError, match=r"matches this reference\. Add"):
        call_command("trace", f"{houston.channel.company_id}:C-000001")


def test_of_several_customers_with_a_phone_the_newest_is_traced(houston, command):
    older = make_customer(houston, phone="713 555 0100")
    run("pipeline")
    newer = make_customer(houston, first_name="Bo", phone="713 555 0100")
    run(JobCode.UPLOAD)

    with pytest.raises(CommandError, match="2 customers match") as error:
        command("trace", "7135550100")

    assert error.value.returncode == 1
    assert [match.ref for match in matches("7135550100")] == [str(newer), str(older)]
    assert trace_document(command, "7135550100")["async_accounts"] == [str(newer)]


def test_an_account_of_two_companies_needs_the_company(houston, command):
    other = Company.objects.create(code="NLRT", name="Netherlands")
    for company in (houston.channel.company, other):
        import_account(company, "100001", last_name="Lee")

    with pytest.raises(CommandError, match="2 customers match"):
        command("trace", "100001")

    assert {match.ref for match in matches("100001")} == {"USRT:100001", "NLRT:100001"}
    assert get_trace("nlrt:100001").company == "NLRT"


def test_the_command_prints_every_event_in_order(houston, command):
    guid = make_customer(houston)
    run("pipeline")

    lines = command("trace", str(guid)).splitlines()

    assert lines[:3] == [f"GUID     {guid}", "Account  005001 (USRT)", "State    distributed"]
    kinds = [line.split()[2] for line in lines if line.startswith("20")]
    assert kinds == ["captured", "uploaded", "converted", "delivered"]
    assert lines[-1].startswith("houston          knows the account since")


def test_the_command_prints_the_sales_of_the_customer(houston, command):
    guid = make_customer(houston)
    make_sale(houston, transaction_id="T-1", async_account=guid)
    run(JobCode.UPLOAD)

    lines = command("trace", str(guid)).splitlines()

    assert lines[-1].split() == ["T-1", "sale", "houston", "not", "validated"]
