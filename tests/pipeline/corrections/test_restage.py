"""Documents in quarantine on their way back: released as they came, or corrected."""

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
from stores.pipeline.convert.accounts import import_account
from stores.pipeline.corrections.case import describe
from stores.pipeline.corrections.events import EventRefused
from stores.pipeline.corrections.quarantine import ChangedMeanwhile, correct_document, release
from stores.pipeline.integrity.verify import verify
from stores.web.forms.document import DocumentForm
from tests.support.make import article, make_sale, only_case, query, run


def typed(case: str, **changed: Any) -> dict[str, Any]:
    """The form of a case as a person sends it, with some values changed."""
    form = DocumentForm(describe(Case.objects.get(pk=case)).values)
    shown = {name: form[name].value() for name in form.fields}
    return {name: "" if value is None else value for name, value in (shown | changed).items()}


def values(case: str, **changed: Any) -> dict[str, Any]:
    """What such a form says."""
    form = DocumentForm(describe(Case.objects.get(pk=case)).values, typed(case, **changed))
    assert form.is_valid(), form.errors
    return form.values


def broken() -> list[str]:
    return [check.id for check in verify() if not check.ok]


@pytest.mark.slow
def test_a_released_document_is_kept_as_its_till_wrote_it_and_posted(store, desk):
    make_sale(store, "10.00", "5.00", transaction_id="T-1", account_number="LEGACY-1")
    run("P-0001")
    case = only_case()
    assert release([case]).left == [case]

    import_account(store.channel.company, "LEGACY-1", last_name="Lee")
    settled = release([case], by=desk, because="Imported by now.")

    row, sale = Quarantine.objects.get(), RetailTransaction.objects.get()
    assert (settled.done, settled.left) == (1, [])
    assert (row.status, row.became, row.settled_by) == ("released", sale.event_id, desk)
    assert (sale.lines.count(), sale.payments.get().amount) == (2, sale.gross_amount)
    assert run("eod")["outcome"] == "succeeded"
    assert RetailTransaction.objects.get().sales_order.customer.account_number == "LEGACY-1"
    assert broken() == []


def test_a_correction_is_a_document_of_hq_and_the_row_stays_as_it_came(store, desk):
    make_sale(store, transaction_id="T-1", entry_status="training")
    run("P-0001")
    case, raw = only_case(), bytes(Quarantine.objects.get().raw)

    made = correct_document(case, values(case, **{"header-entry_status": "voided"}), by=desk)

    row, sale = Quarantine.objects.get(), RetailTransaction.objects.get()
    assert (row.status, row.became, bytes(row.raw)) == ("superseded", made, raw)
    assert (sale.event_id, sale.origin, sale.made_by, sale.corrects) == (made, "hq", desk, case)
    assert (sale.channel, sale.database) == (store.channel, None)
    assert sale.lines.get().item_id == "0004"
    assert ExcludedSale.objects.get().reason == "voided"
    assert broken() == []


@pytest.mark.slow
def test_a_document_whose_lines_never_came_gets_them_at_hq(store):
    make_sale(store, "10.00", transaction_id="T-1", line_count=2)
    run("P-0001")
    IncompleteDocument.objects.update(first_seen_at=timezone.now() - timedelta(minutes=16))
    run("P-0001")
    case = only_case()
    with pytest.raises(EventRefused, match="document_incomplete"):
        correct_document(case, values(case))

    second = {f"line-2-{name}": value for name, value in article("0.00").items()}
    correct_document(case, values(case, **second, **{"line-2-line_number": 2}))

    run("eod")
    sale = RetailTransaction.objects.get()
    assert (sale.lines.count(), sale.validation_status) == (2, "successful")


def test_bytes_that_are_no_text_are_shown_and_replaced(popup):
    make_sale(popup, transaction_id="T-1", lines=[article("10.00", description=b"\xff\xfe")])
    run("P-0001")
    case = only_case()
    lines, _ = describe(Case.objects.get()).parts
    assert "bytes ff fe" in lines.rows[0]
    assert release([case]).left == [case]

    correct_document(case, values(case, **{"line-1-description": "Lamp"}))

    assert RetailTransaction.objects.get().lines.get().description == "Lamp"


def test_a_number_that_is_taken_is_refused_and_another_one_kept(store):
    make_sale(store, "10.00", transaction_id="T-1")
    make_sale(store, "10.00", transaction_id="T-2", currency="usd")
    run("P-0001")
    case = only_case()
    right = {"header-currency": "USD"}

    with pytest.raises(EventRefused, match="transaction_id: document_conflict"):
        correct_document(case, values(case, **right, **{"header-transaction_id": "T-1"}))
    assert Quarantine.objects.get().status == "open"
    correct_document(case, values(case, **right, **{"header-transaction_id": "T-9"}))

    assert RetailTransaction.objects.filter(transaction_id="T-9").exists()


@pytest.mark.slow
def test_a_correction_is_no_second_sale_of_another_channel_s_store(houston, register):
    seattle = register("seattle")
    make_sale(houston, transaction_id="T-1", store_number="007")
    make_sale(seattle, transaction_id="T-1", store_number="007", currency="usd")
    run("P-0001")
    case, right = only_case(), {"header-currency": "USD"}

    with pytest.raises(EventRefused, match="transaction_id: document_elsewhere"):
        correct_document(case, values(case, **right))
    correct_document(case, values(case, **right, **{"header-store_number": "008"}))

    kept = RetailTransaction.objects.order_by("store_number")
    assert list(kept.values_list("store_number", flat=True)) == ["007", "008"]
    assert broken() == []


def test_of_two_who_correct_one_document_the_second_hears_of_the_first(store):
    make_sale(store, currency="usd")
    run("P-0001")
    case = only_case()
    right = values(case, **{"header-currency": "USD"})
    correct_document(case, right)

    with pytest.raises(ChangedMeanwhile):
        correct_document(case, right)
    assert RetailTransaction.objects.count() == 1


def test_of_two_documents_with_one_number_the_first_is_released(houston, register, command):
    seattle = register("seattle")
    for store in (houston, seattle):
        make_sale(store, transaction_id="T-1", account_number="LEGACY-1")
    run("P-0001")
    # As if both had come from one shop.
    Quarantine.objects.filter(database=seattle).update(database=houston)
    import_account(houston.channel.company, "LEGACY-1", last_name="Lee")

    with pytest.raises(SystemExit):
        command("quarantine", "release", "--cause", str(Case.objects.first().cause))

    assert RetailTransaction.objects.get().lines.count() == 1
    assert Quarantine.objects.filter(status="open").get().reason == "document_conflict"


def test_a_document_that_comes_again_and_passes_by_now_is_settled(store):
    make_sale(store, account_number="LEGACY-1")
    run("P-0001")
    import_account(store.channel.company, "LEGACY-1", last_name="Lee")
    query(store, "UPDATE retail_transaction SET acknowledged_at = NULL")

    run("P-0001")

    assert Quarantine.objects.get().status == "released"
    assert RetailTransaction.objects.count() == 1


def test_a_person_corrects_a_document_on_its_page(store):
    make_sale(store, "10.00", transaction_id="T-1", tax_amount="NaN")
    run("P-0001")
    case, boss = only_case(), Client()
    boss.force_login(User.objects.create_superuser("boss"))
    page = f"/quarantine/{case}/correct/"
    wrong = boss.post(page, typed(case))
    assert "Enter a number." in wrong.content.decode()

    right = typed(case, **{"header-tax_amount": "0.70", "line-1-quantity": "1"})
    answer = boss.post(page, right, follow=True)

    sale = RetailTransaction.objects.get()
    assert f'href="{sale.get_absolute_url()}"' in answer.content.decode()
    assert f'href="/quarantine/{case}/"' in boss.get(sale.get_absolute_url()).content.decode()


def test_all_of_a_document_is_shown(store, command):
    make_sale(store, "10.00", transaction_id="T-1", currency="usd")
    run("P-0001")

    shown = command("quarantine", "show", only_case())

    assert "retail_transaction_line: line_number 1, item_id 0004" in shown
    assert "retail_transaction_payment: line_number 1, tender_type cash" in shown
