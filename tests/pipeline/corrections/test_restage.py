"""Quarantined sales are staged after all: released as they were written, or corrected.

From conftest.py: `houston` is a store on PostgreSQL; `seattle` is another store on PostgreSQL;
`popup` is one on SQLite; `store` is a store, once on PostgreSQL and once on SQLite; `hq_user` is
robin, a user at headquarters; `command` calls a management command and returns its output.
"""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from stores.models import (
    Case,
    ExcludedSale,
    IncompleteDocument,
    Quarantine,
    RetailTransaction,
)
from stores.models.job import JobCode
from stores.pipeline.convert.accounts import import_account
from stores.pipeline.corrections.case import describe_case
from stores.pipeline.corrections.events import EventRefused
from stores.pipeline.corrections.quarantine import ChangedMeanwhile, correct_document, release_rows
from stores.web.forms.document import DocumentForm
from tests.support.engines import on_one_engine
from tests.support.make import article, make_sale, only_case, query, run
from tests.support.promises import broken_promises


def form_data(case: str, changes: dict[str, Any] | None = None) -> dict[str, Any]:
    """The form of a case as a browser sends it, with some fields changed."""
    form = DocumentForm(describe_case(Case.objects.get(pk=case)).values)
    data = {name: form[name].value() for name in form.fields} | (changes or {})
    return {name: "" if value is None else value for name, value in data.items()}


def corrected_values(case: str, changes: dict[str, Any] | None = None) -> dict[str, Any]:
    """The values of the document after the form was sent."""
    values = describe_case(Case.objects.get(pk=case)).values
    form = DocumentForm(values, form_data(case, changes))
    assert form.is_valid(), form.errors
    return form.values


@pytest.mark.slow
def test_a_released_sale_is_posted_as_its_till_wrote_it(store, hq_user):
    make_sale(store, "10.00", "5.00", transaction_id="T-1", account_number="LEGACY-1")
    run(JobCode.UPLOAD)
    case = only_case()
    assert release_rows([case]).still_open == [case]

    import_account(store.channel.company, "LEGACY-1", last_name="Lee")
    result = release_rows([case], by=hq_user, because="Imported by now.")

    row, sale = Quarantine.objects.get(), RetailTransaction.objects.get()
    assert (result.done, result.still_open) == (1, [])
    assert (row.status, row.became, row.settled_by) == ("released", sale.event_id, hq_user)
    assert (sale.lines.count(), sale.payments.get().amount) == (2, sale.gross_amount)
    assert run(JobCode.END_OF_DAY)["outcome"] == "succeeded"
    assert RetailTransaction.objects.get().sales_order.customer.account_number == "LEGACY-1"
    assert broken_promises() == []


def test_a_correction_adds_a_sale_and_keeps_the_row(store, hq_user):
    make_sale(store, transaction_id="T-1", entry_status="training")
    run(JobCode.UPLOAD)
    case, raw = only_case(), bytes(Quarantine.objects.get().raw)

    values = corrected_values(case, {"header-entry_status": "voided"})
    event_id = correct_document(case, values, by=hq_user)

    row, sale = Quarantine.objects.get(), RetailTransaction.objects.get()
    assert (row.status, row.became, bytes(row.raw)) == ("superseded", event_id, raw)
    assert (sale.event_id, sale.origin) == (event_id, "hq")
    assert (sale.made_by, sale.corrects) == (hq_user, case)
    assert (sale.channel, sale.database) == (store.channel, None)
    assert sale.lines.count() == 1
    assert ExcludedSale.objects.get().reason == "voided"
    assert broken_promises() == []


@pytest.mark.slow
def test_missing_lines_of_a_sale_are_added_at_hq(store):
    make_sale(store, "10.00", transaction_id="T-1", line_count=2)
    run(JobCode.UPLOAD)
    IncompleteDocument.objects.update(first_seen_at=timezone.now() - timedelta(minutes=16))
    run(JobCode.UPLOAD)
    case = only_case()
    with pytest.raises(EventRefused, match="document_incomplete"):
        correct_document(case, corrected_values(case))

    line = article("0.00") | {"line_number": 2}
    second_line = {f"line-2-{name}": value for name, value in line.items()}
    correct_document(case, corrected_values(case, second_line))
    run(JobCode.END_OF_DAY)

    sale = RetailTransaction.objects.get()
    assert (sale.lines.count(), sale.validation_status) == (2, "successful")


def test_a_value_that_is_no_text_is_shown_in_hexadecimal(popup):
    make_sale(popup, transaction_id="T-1", lines=[article("10.00", description=b"\xff\xfe")])
    run(JobCode.UPLOAD)
    case = only_case()
    lines, _ = describe_case(Case.objects.get()).parts
    assert "bytes ff fe" in lines.rows[0]
    assert release_rows([case]).still_open == [case]

    correct_document(case, corrected_values(case, {"line-1-description": "Lamp"}))

    assert RetailTransaction.objects.get().lines.get().description == "Lamp"


@on_one_engine
def test_a_correction_cannot_use_the_transaction_id_of_another_sale(store):
    make_sale(store, "10.00", transaction_id="T-1")
    make_sale(store, "10.00", transaction_id="T-2", currency="usd")
    run(JobCode.UPLOAD)
    case = only_case()
    changes = {"header-currency": "USD", "header-transaction_id": "T-1"}

    with pytest.raises(EventRefused, match="transaction_id: document_conflict"):
        correct_document(case, corrected_values(case, changes))
    assert Quarantine.objects.get().status == "open"

    changes["header-transaction_id"] = "T-9"
    correct_document(case, corrected_values(case, changes))
    assert RetailTransaction.objects.filter(transaction_id="T-9").exists()


@pytest.mark.slow
def test_a_correction_cannot_duplicate_a_sale_of_another_channel(houston, seattle):
    make_sale(houston, transaction_id="T-1", store_number="007")
    make_sale(seattle, transaction_id="T-1", store_number="007", currency="usd")
    run(JobCode.UPLOAD)
    case = only_case()
    changes = {"header-currency": "USD"}

    with pytest.raises(EventRefused, match="transaction_id: document_elsewhere"):
        correct_document(case, corrected_values(case, changes))

    changes["header-store_number"] = "008"
    correct_document(case, corrected_values(case, changes))
    sales = RetailTransaction.objects.order_by("store_number")
    assert list(sales.values_list("store_number", flat=True)) == ["007", "008"]
    assert broken_promises() == []


@on_one_engine
def test_a_sale_cannot_be_corrected_twice(store):
    make_sale(store, currency="usd")
    run(JobCode.UPLOAD)
    case = only_case()
    values = corrected_values(case, {"header-currency": "USD"})
    correct_document(case, values)

    with pytest.raises(ChangedMeanwhile):
        correct_document(case, values)

    assert RetailTransaction.objects.count() == 1


def test_of_two_sales_with_one_id_the_first_is_released(houston, seattle, command):
    for store in (houston, seattle):
        make_sale(store, transaction_id="T-1", account_number="LEGACY-1")
    run(JobCode.UPLOAD)
    # As if both had been written in one channel.
    Quarantine.objects.filter(database=seattle).update(database=houston)
    import_account(houston.channel.company, "LEGACY-1", last_name="Lee")

    with pytest.raises(SystemExit):
        command("quarantine", "release", "--cause", str(Case.objects.first().cause))

    assert RetailTransaction.objects.get().lines.count() == 1
    assert Quarantine.objects.filter(status="open").get().reason == "document_conflict"


def test_an_upload_releases_a_quarantined_sale_that_is_now_valid(store):
    make_sale(store, account_number="LEGACY-1")
    run(JobCode.UPLOAD)
    import_account(store.channel.company, "LEGACY-1", last_name="Lee")
    query(store, "UPDATE retail_transaction SET acknowledged_at = NULL")

    run(JobCode.UPLOAD)

    assert Quarantine.objects.get().status == "released"
    assert RetailTransaction.objects.count() == 1


@on_one_engine
def test_a_person_corrects_a_document_on_its_page(store):
    make_sale(store, "10.00", transaction_id="T-1", tax_amount="NaN")
    run(JobCode.UPLOAD)
    case = only_case()
    client = Client()
    client.force_login(User.objects.create_superuser("boss"))
    url = f"/quarantine/{case}/correct/"

    response = client.post(url, form_data(case))
    assert "Enter a number." in response.content.decode()

    changes = {"header-tax_amount": "0.70", "line-1-quantity": "1"}
    response = client.post(url, form_data(case, changes), follow=True)

    sale_url = RetailTransaction.objects.get().get_absolute_url()
    assert f'href="{sale_url}"' in response.content.decode()
    assert f'href="/quarantine/{case}/"' in client.get(sale_url).content.decode()


@on_one_engine
def test_the_command_shows_every_part_of_a_sale(store, command):
    make_sale(store, "10.00", transaction_id="T-1", currency="usd")
    run(JobCode.UPLOAD)

    output = command("quarantine", "show", only_case())

    assert "retail_transaction_line: line_number 1, item_id 0004" in output
    assert "retail_transaction_payment: line_number 1, tender_type cash" in output
