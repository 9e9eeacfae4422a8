"""Correcting all transactions that failed for the same cause at once.

From conftest.py: `houston` is a store on PostgreSQL (its first account is 005001); `popup` is one
on SQLite; `reader` is a client of a user who may see every page; `clerk` is a client of a user who
may correct sales.
"""

from contextlib import closing
from datetime import date
from uuid import uuid4

import psycopg2
import pytest
from django.contrib.auth.models import User

from stores.models import RetailTransaction, SalesOrder, TransactionChange
from stores.models.job import JobCode
from stores.pipeline.corrections import sales
from stores.pipeline.corrections.sale import correct_transaction, lease_transaction
from tests.support.make import article, make_customer, make_sale, run
from tests.support.processes import hq_url

pytestmark = pytest.mark.slow

DAY = date(2026, 11, 20)
URL = "/transactions/failed/alike/"
# A cause is a rule, a field and a part of the transaction.
GROSS_DIFFERS = "gross_differs:gross_amount:header"
NET_DIFFERS = "net_differs:net_amount:header"
CUSTOMER_UNKNOWN = "customer_unknown:async_account:header"
USE_EXPECTED_GROSS = {"to-gross_amount": "expected"}
USE_EXPECTED_NET = {"to-net_amount": "expected"}


def make_sales(store, *transaction_ids, **columns):
    """Write sales with these columns, upload and validate them."""
    for transaction_id in transaction_ids:
        make_sale(store, business_date=DAY, transaction_id=transaction_id, **columns)
    run(JobCode.UPLOAD)
    run("validate")


def get_sale(transaction_id):
    return RetailTransaction.objects.get(transaction_id=transaction_id)


def corrected_ids():
    """The transactions that were corrected."""
    rows = RetailTransaction.objects.filter(is_mended=True).order_by("transaction_id")
    return list(rows.values_list("transaction_id", flat=True))


def correct(client, cause, form):
    """Submit the form of a cause and confirm the preview. Returns the page that follows."""
    page = client.get(URL, {"cause": cause})
    form = {"upto": page.context["upto"], "why": "Typo at the till."} | form
    preview = client.post(f"{URL}?cause={cause}", form).context["form"]
    if preview.is_valid():
        form["sure"] = preview.digest
    return client.post(f"{URL}?cause={cause}", form, follow=True).content.decode()


def test_causes_are_listed_by_the_number_of_sales(reader, houston):
    make_sales(houston, "T-1", "T-2", gross_amount="99.00", payment_amount="99.00")
    make_sales(houston, "T-3", async_account=uuid4())

    causes = reader.get("/transactions/failed/").context["causes"]

    assert [(str(row["cause"]), row["sales"]) for row in causes] == [
        (GROSS_DIFFERS, 2),
        (CUSTOMER_UNKNOWN, 1),
    ]


def test_each_sale_gets_the_value_that_its_rule_expects(clerk, houston):
    for transaction_id, price in (("T-1", "10.00"), ("T-2", "20.00")):
        make_sale(houston, price, transaction_id=transaction_id, gross_amount="99.00")
    run(JobCode.UPLOAD)
    run("validate")

    page = correct(clerk, GROSS_DIFFERS, USE_EXPECTED_GROSS)

    assert "2 transactions corrected" in page
    assert "2 of them now pass all rules." in page
    assert get_sale("T-1").validation_status == "successful"
    assert get_sale("T-2").validation_status == "successful"
    changes = TransactionChange.objects.order_by("transaction")
    assert [(change.field, change.old, change.new) for change in changes] == [
        ("gross_amount", "99.0000", "10.7000"),
        ("gross_amount", "99.0000", "21.4000"),
    ]
    for change in changes:
        assert (change.changed_by.username, change.reason) == ("clerk", "Typo at the till.")


def test_many_sales_are_corrected_in_batches(clerk, houston, monkeypatch):
    monkeypatch.setattr(sales, "BATCH_SIZE", 2)
    make_sales(houston, "T-1", "T-2", "T-3", gross_amount="99.00")

    page = correct(clerk, GROSS_DIFFERS, USE_EXPECTED_GROSS)

    assert "3 transactions corrected" in page
    assert TransactionChange.objects.count() == 3


def test_one_correction_has_a_maximum_of_sales(clerk, houston, monkeypatch):
    monkeypatch.setattr(sales, "BATCH_SIZE", 1)
    monkeypatch.setattr(sales, "MAX_TRANSACTIONS", 2)
    make_sales(houston, "T-1", "T-2", "T-3", gross_amount="99.00")

    correct(clerk, GROSS_DIFFERS, USE_EXPECTED_GROSS)

    assert corrected_ids() == ["T-1", "T-2"]


def test_all_sales_get_the_same_value_and_are_posted(clerk, houston):
    ann = make_customer(houston)
    run("pipeline")
    make_sales(houston, "T-1", "T-2", async_account=uuid4())

    correct(clerk, CUSTOMER_UNKNOWN, {"to-account_number": "value", "account_number": "005001"})

    run("eod")
    order = SalesOrder.objects.get()
    assert order.customer.guids.get().async_account == ann
    assert order.transactions.count() == 2


def test_only_the_lines_that_break_the_rule_are_corrected(clerk, houston):
    lines = [article("10.00"), article("5.00", item_id=""), article("6.00", item_id="")]
    make_sales(houston, "T-1", lines=lines)

    correct(clerk, "item_missing:item_id:line", {"to-item_id": "value", "item_id": "0099"})

    items = get_sale("T-1").lines.values_list("item_id", flat=True)
    assert list(items) == ["0004", "0099", "0099"]
    changes = TransactionChange.objects.order_by("line_number")
    assert [(change.line_number, change.old, change.new) for change in changes] == [
        (2, "", "0099"),
        (3, "", "0099"),
    ]


def test_a_corrected_order_is_created_on_hold(clerk, houston):
    quarantined = make_customer(houston, title="x" * 21)
    order = {"transaction_type": "customer_order", "confirmation_number": "SO-1"}
    make_sale(houston, transaction_id="T-1", async_account=quarantined, **order)
    make_customer(houston, "Bo")
    run("pipeline")
    run("sync-orders")
    assert get_sale("T-1").order_status == "failed"

    correct(
        clerk,
        "too_long:title:header",
        {
            "to-account_number": "value",
            "account_number": "005001",
            "to-async_account": "nothing",
        },
    )
    run("sync-orders")

    assert SalesOrder.objects.get().state == "on_hold"


def test_sales_leased_or_locked_by_others_are_skipped(clerk, houston):
    make_sales(houston, "T-1", "T-2", "T-3", gross_amount="99.00")
    lease_transaction(get_sale("T-1"), User.objects.create_user("robin"))
    with closing(psycopg2.connect(hq_url())) as other, other, other.cursor() as job:
        job.execute("SELECT id FROM retail_transaction WHERE transaction_id = 'T-2' FOR UPDATE")

        page = correct(clerk, GROSS_DIFFERS, USE_EXPECTED_GROSS)

    assert "1 transaction corrected" in page
    assert "2 transactions skipped" in page
    assert corrected_ids() == ["T-3"]


def test_sales_that_failed_since_the_page_are_not_corrected(clerk, houston):
    make_sales(houston, "T-1", gross_amount="99.00")
    upto = clerk.get(URL, {"cause": GROSS_DIFFERS}).context["upto"]
    make_sales(houston, "T-2", gross_amount="99.00")

    correct(clerk, GROSS_DIFFERS, USE_EXPECTED_GROSS | {"upto": upto})

    assert corrected_ids() == ["T-1"]


def test_the_sales_of_one_channel_and_day_are_corrected_alone(clerk, houston, popup):
    make_sales(houston, "T-1", gross_amount="99.00")
    make_sales(popup, "T-2", gross_amount="99.00")

    correct(clerk, GROSS_DIFFERS, USE_EXPECTED_GROSS | {"channel": "popup", "date": DAY})

    assert corrected_ids() == ["T-2"]


def test_a_correction_needs_a_value_and_a_reason(clerk, houston):
    make_sales(houston, "T-1", currency="EUR", payments=[])

    page = correct(
        clerk,
        "payment_differs:payment_amount:header",
        {"to-payment_amount": "value", "why": ""},
    )

    assert "Enter the value, or choose another option." in page
    assert "Enter a reason." in page
    assert not TransactionChange.objects.exists()


def test_a_user_without_the_permission_only_sees_the_sales(reader, houston):
    make_sales(houston, "T-1", gross_amount="99.00")

    page = reader.get(URL, {"cause": GROSS_DIFFERS})
    response = reader.post(f"{URL}?cause={GROSS_DIFFERS}", USE_EXPECTED_GROSS | {"why": "x"})

    assert page.context["count"] == 1
    assert "You have read-only access." in page.content.decode()
    assert response.status_code == 403


def test_an_unknown_cause_is_not_found(reader, houston):
    assert reader.get(URL, {"cause": "nonsense"}).status_code == 404


@pytest.mark.finding(id="U4")
def test_a_value_that_breaks_the_same_rule_is_not_written(clerk, houston):
    lines = [article("10.00") | {"price": "-10.00"}, article("5.00")]
    make_sales(houston, "T-1", "T-2", lines=lines)

    page = correct(clerk, "price_negative:price:line", {"to-price": "value", "price": "-3"})

    assert "2 transactions left unchanged: they would still break the rule." in page
    assert "corrected." not in page
    assert not TransactionChange.objects.exists()
    assert get_sale("T-1").lines.first().price == -10
    assert get_sale("T-1").errors.filter(rule="price_negative").exists()


@pytest.mark.finding(id="U4")
@pytest.mark.parametrize(
    ("cause", "form"),
    [
        (NET_DIFFERS, {"to-net_amount": "value", "net_amount": "12"}),
        (NET_DIFFERS, {"to-net_amount": "value", "net_amount": "10.001"}),
        (CUSTOMER_UNKNOWN, {"to-account_number": "value", "account_number": "009999"}),
        (CUSTOMER_UNKNOWN, {"to-async_account": "value", "async_account": str(uuid4())}),
    ],
    ids=["wrong amount", "fraction of a cent", "unknown account", "unknown guid"],
)
def test_a_wrong_value_does_not_replace_a_wrong_value(clerk, houston, cause, form):
    make_sales(houston, "T-1", net_amount="11.00", async_account=uuid4())

    page = correct(clerk, cause, form)

    assert "1 transaction left unchanged" in page
    assert not TransactionChange.objects.exists()
    assert corrected_ids() == []


@pytest.mark.finding(id="U4")
def test_only_sales_that_become_right_are_corrected(clerk, houston):
    amounts = {"net_amount": "11.00", "gross_amount": "11.70", "payment_amount": "11.70"}
    make_sales(houston, "T-1", "T-2", **amounts)
    make_sales(houston, "T-3", lines=[article("20.00")], net_amount="21.00")

    page = correct(clerk, NET_DIFFERS, {"to-net_amount": "value", "net_amount": "10"})

    assert "2 transactions corrected." in page
    assert "1 transaction left unchanged" in page
    assert corrected_ids() == ["T-1", "T-2"]


@pytest.fixture
def net_and_gross_differ(houston):
    """Two sales with a wrong net amount; the gross amount of T-1 would fit only the wrong one."""
    amounts = {"net_amount": "11.00", "gross_amount": "11.70", "payment_amount": "11.70"}
    make_sales(houston, "T-1", **amounts)
    make_sales(houston, "T-2", net_amount="11.00")


@pytest.mark.finding(id="U4")
def test_the_message_counts_sales_that_break_another_rule(clerk, net_and_gross_differ):
    page = correct(clerk, NET_DIFFERS, USE_EXPECTED_NET)

    assert "2 transactions corrected. 1 of them now passes all rules." in page
    assert "1 breaks another rule." in page
    assert "1 transaction of these: Gross amount: does not equal net plus tax." in page
    assert get_sale("T-1").errors.get(rule="gross_differs")


@pytest.mark.finding(id="U4")
def test_the_preview_counts_the_same_and_writes_nothing(clerk, net_and_gross_differ):
    form = USE_EXPECTED_NET | {"why": "Typo at the till."}

    response = clerk.post(f"{URL}?cause={NET_DIFFERS}", form)

    page = response.content.decode()
    assert "<strong>1</strong> would pass all rules." in page
    assert "<strong>1</strong> would fail: Gross amount: does not equal net plus tax." in page
    example = ("T-1", None, "net_amount", "11.0000", "10.0000")
    assert example in response.context["preview"].examples
    assert "Correct 2 transactions" in page
    assert not TransactionChange.objects.exists()


@pytest.mark.finding(id="U4")
def test_a_confirmed_preview_is_not_valid_for_another_correction(clerk, net_and_gross_differ):
    form = USE_EXPECTED_NET | {"why": "Typo at the till."}
    digest = clerk.post(f"{URL}?cause={NET_DIFFERS}", form).context["form"].digest
    other_form = {"to-net_amount": "value", "net_amount": "10", "why": "x", "sure": digest}

    response = clerk.post(f"{URL}?cause={NET_DIFFERS}", other_form)

    assert "What would happen" in response.content.decode()
    assert not TransactionChange.objects.exists()


@pytest.fixture
def correction_url(clerk, houston):
    """The page of a correction of three sales, of which T-3 was changed again since."""
    make_sales(houston, "T-1", "T-2", "T-3", net_amount="11.00")
    correct(clerk, NET_DIFFERS, USE_EXPECTED_NET)
    sale, user = get_sale("T-3"), User.objects.get(username="clerk")
    lease_transaction(sale, user)
    correct_transaction(sale, user, "x", {sale: {"net_amount": 12}})
    correction = TransactionChange.objects.exclude(correction=None).first().correction
    return f"/transactions/corrections/{correction}/"


@pytest.mark.finding(id="U4")
def test_a_correction_is_undone_except_in_sales_changed_since(clerk, correction_url):
    page = clerk.post(f"{correction_url}undo/", follow=True).content.decode()

    assert "Undone in 2 transactions." in page
    assert "1 transaction left unchanged" in page
    net_amounts = {id: int(get_sale(id).net_amount) for id in ("T-1", "T-2", "T-3")}
    assert net_amounts == {"T-1": 11, "T-2": 11, "T-3": 12}
    assert get_sale("T-1").errors.filter(rule="net_differs").exists()


@pytest.mark.finding(id="U4")
def test_a_user_without_the_permission_cannot_undo_a_correction(reader, correction_url):
    page = reader.get(correction_url).content.decode()
    response = reader.post(f"{correction_url}undo/")

    assert "3 transactions, by clerk" in page
    assert "Undo</button>" not in page
    assert response.status_code == 403


@pytest.mark.finding(id="U4")
def test_an_unknown_correction_is_not_found(clerk):
    assert clerk.get(f"/transactions/corrections/{uuid4()}/").status_code == 404
