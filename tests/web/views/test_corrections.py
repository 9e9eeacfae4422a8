"""Transactions that failed alike, corrected with one correction."""

from contextlib import closing
from datetime import date
from uuid import uuid4

import psycopg2
import pytest
from django.contrib.auth.models import User

from stores.models import RetailTransaction, SalesOrder, TransactionChange
from stores.pipeline.corrections import sales
from stores.pipeline.corrections.sale import correct_transaction, lease_transaction
from tests.support.make import article, make_customer, make_sale, run
from tests.support.processes import hq_url

pytestmark = pytest.mark.slow

DAY = date(2026, 11, 20)
ALIKE = "/transactions/failed/alike/"


def sale(number):
    return RetailTransaction.objects.get(transaction_id=number)


def sell(store, *numbers, **columns):
    """Sales that do not add up in the same way, uploaded and validated."""
    for number in numbers:
        make_sale(store, business_date=DAY, transaction_id=number, **columns)
    run("P-0001")
    run("validate")


def correct(client, cause, **values):
    """Send the correction of a cause; what the page says then."""
    page = client.get(ALIKE, {"cause": cause})
    values = {"upto": page.context["upto"], "why": "Typo at the till."} | values
    form = client.post(f"{ALIKE}?cause={cause}", values).context["form"]
    values |= {"sure": form.digest} if form.is_valid() else {}
    return client.post(f"{ALIKE}?cause={cause}", values, follow=True).content.decode()


def test_causes_are_counted_the_most_frequent_first(reader, houston):
    sell(houston, "T-1", "T-2", gross_amount="99.00", payment_amount="99.00")
    sell(houston, "T-3", async_account=uuid4())

    causes = reader.get("/transactions/failed/").context["causes"]

    assert [(str(row["cause"]), row["sales"]) for row in causes] == [
        ("gross_differs:gross_amount:header", 2),
        ("customer_unknown:async_account:header", 1),
    ]


def test_each_gets_what_its_rule_expects_and_is_validated_at_once(clerk, houston):
    for number, price in (("T-1", "10.00"), ("T-2", "20.00")):
        make_sale(houston, price, transaction_id=number, gross_amount="99.00")
    run("P-0001")
    run("validate")

    told = correct(clerk, "gross_differs:gross_amount:header", **{"to-gross_amount": "expected"})

    assert "2 transactions corrected" in told
    assert "2 of them now pass all rules." in told
    assert [sale(n).validation_status for n in ("T-1", "T-2")] == ["successful", "successful"]
    kept = TransactionChange.objects.order_by("transaction")
    assert [(one.old, one.new) for one in kept] == [("99.0000", "10.7000"), ("99.0000", "21.4000")]
    assert {(one.changed_by.username, one.reason, one.field) for one in kept} == {
        ("clerk", "Typo at the till.", "gross_amount")
    }


def test_many_are_corrected_in_portions(clerk, houston, monkeypatch):
    monkeypatch.setattr(sales, "BATCH_SIZE", 2)
    sell(houston, "T-1", "T-2", "T-3", gross_amount="99.00")

    told = correct(clerk, "gross_differs:gross_amount:header", **{"to-gross_amount": "expected"})

    assert "3 transactions corrected" in told
    assert TransactionChange.objects.count() == 3


def test_no_more_than_so_many_are_corrected_at_once(clerk, houston, monkeypatch):
    monkeypatch.setattr(sales, "BATCH_SIZE", 1)
    monkeypatch.setattr(sales, "MAX_TRANSACTIONS", 2)
    sell(houston, "T-1", "T-2", "T-3", gross_amount="99.00")

    correct(clerk, "gross_differs:gross_amount:header", **{"to-gross_amount": "expected"})

    assert [sale(f"T-{n}").is_mended for n in (1, 2, 3)] == [True, True, False]


def test_all_become_one_value_and_the_day_is_posted(clerk, houston):
    ann = make_customer(houston)
    run("pipeline")
    sell(houston, "T-1", "T-2", async_account=uuid4())

    correct(
        clerk,
        "customer_unknown:async_account:header",
        **{"to-account_number": "value", "account_number": "005001"},
    )

    run("eod")
    order = SalesOrder.objects.get()
    assert (order.customer.guids.get().async_account, order.transactions.count()) == (ann, 2)


def test_only_the_lines_that_break_the_rule_are_corrected(clerk, houston):
    lines = [article("10.00"), article("5.00", item_id=""), article("6.00", item_id="")]
    sell(houston, "T-1", lines=lines)

    correct(clerk, "item_missing:item_id:line", **{"to-item_id": "value", "item_id": "0099"})

    assert list(sale("T-1").lines.values_list("item_id", flat=True)) == ["0004", "0099", "0099"]
    kept = TransactionChange.objects.order_by("line_number")
    assert [(one.line_number, one.old, one.new) for one in kept] == [
        (2, "", "0099"),
        (3, "", "0099"),
    ]


def test_a_failed_order_becomes_an_order_on_hold(clerk, houston):
    make_sale(
        houston,
        transaction_id="T-1",
        transaction_type="customer_order",
        confirmation_number="SO-1",
        async_account=make_customer(houston, title="x" * 21),
    )
    make_customer(houston, "Bo")
    run("pipeline")
    run("sync-orders")
    assert sale("T-1").order_status == "failed"

    correct(
        clerk,
        "too_long:title:header",
        **{
            "to-account_number": "value",
            "account_number": "005001",
            "to-async_account": "nothing",
        },
    )
    run("sync-orders")

    assert SalesOrder.objects.get().state == "on_hold"


def test_what_somebody_else_corrects_or_a_job_holds_is_skipped(clerk, houston):
    sell(houston, "T-1", "T-2", "T-3", gross_amount="99.00")
    lease_transaction(sale("T-1"), User.objects.create_user("robin"))
    with closing(psycopg2.connect(hq_url())) as other, other, other.cursor() as job:
        job.execute("SELECT id FROM retail_transaction WHERE transaction_id = 'T-2' FOR UPDATE")

        told = correct(
            clerk, "gross_differs:gross_amount:header", **{"to-gross_amount": "expected"}
        )

    assert "1 transaction corrected" in told
    assert "2 transactions skipped" in told
    assert [one.transaction_id for one in RetailTransaction.objects.filter(is_mended=True)] == [
        "T-3"
    ]


def test_u4_a_value_that_breaks_the_same_rule_is_written_nowhere(clerk, houston):
    lines = [article("10.00") | {"price": "-10.00"}, article("5.00")]
    sell(houston, "T-1", "T-2", lines=lines)

    told = correct(clerk, "price_negative:price:line", **{"to-price": "value", "price": "-3"})

    assert "2 transactions left unchanged: they would still break the rule." in told
    assert "corrected." not in told
    assert not TransactionChange.objects.exists()
    assert sale("T-1").lines.first().price == -10
    assert sale("T-1").errors.filter(rule="price_negative").exists()


@pytest.mark.parametrize(
    ("cause", "values"),
    [
        ("net_differs:net_amount:header", {"to-net_amount": "value", "net_amount": "12"}),
        ("net_differs:net_amount:header", {"to-net_amount": "value", "net_amount": "10.001"}),
        (
            "customer_unknown:async_account:header",
            {"to-account_number": "value", "account_number": "009999"},
        ),
        (
            "customer_unknown:async_account:header",
            {"to-async_account": "value", "async_account": str(uuid4())},
        ),
    ],
)
def test_u4_nothing_wrong_takes_the_place_of_what_is_wrong(clerk, houston, cause, values):
    sell(houston, "T-1", net_amount="11.00", async_account=uuid4())

    told = correct(clerk, cause, **values)

    assert "1 transaction left unchanged" in told
    assert not TransactionChange.objects.exists()
    assert not sale("T-1").is_mended


def test_u4_only_those_that_become_right_are_corrected(clerk, houston):
    sell(houston, "T-1", "T-2", net_amount="11.00", gross_amount="11.70", payment_amount="11.70")
    sell(houston, "T-3", lines=[article("20.00")], net_amount="21.00")

    told = correct(
        clerk, "net_differs:net_amount:header", **{"to-net_amount": "value", "net_amount": "10"}
    )

    assert "2 transactions corrected." in told
    assert "1 transaction left unchanged" in told
    assert [sale(f"T-{n}").is_mended for n in (1, 2, 3)] == [True, True, False]


def test_u4_the_message_says_what_is_right_now_and_what_breaks_the_next_rule(clerk, houston):
    sell(houston, "T-1", net_amount="11.00", gross_amount="11.70", payment_amount="11.70")
    sell(houston, "T-2", net_amount="11.00")

    told = correct(clerk, "net_differs:net_amount:header", **{"to-net_amount": "expected"})

    assert "2 transactions corrected. 1 of them now pass all rules. 1 break another rule." in told
    assert "1 transaction of these: Gross amount: does not equal net plus tax." in told
    assert sale("T-1").errors.get(rule="gross_differs")


def test_u4_a_preview_says_what_would_become_of_them_and_writes_nothing(clerk, houston):
    sell(houston, "T-1", net_amount="11.00", gross_amount="11.70", payment_amount="11.70")
    sell(houston, "T-2", net_amount="11.00")
    cause = "net_differs:net_amount:header"

    answer = clerk.post(
        f"{ALIKE}?cause={cause}", {"to-net_amount": "expected", "why": "Typo at the till."}
    )

    shown = answer.content.decode()
    assert "<strong>1</strong> would pass all rules." in shown
    assert ("<strong>1</strong> would fail: Gross amount: does not equal net plus tax.") in shown
    assert ("T-1", None, "net_amount", "11.0000", "10.0000") in answer.context["preview"].examples
    assert "Correct 2 transactions" in shown
    assert not TransactionChange.objects.exists()
    other = {"to-net_amount": "value", "net_amount": "10", "why": "x"}
    sure = {"sure": answer.context["form"].digest}
    assert (
        "What would happen" in clerk.post(f"{ALIKE}?cause={cause}", other | sure).content.decode()
    )
    assert not TransactionChange.objects.exists()


def test_u4_a_correction_is_undone_where_nobody_changed_anything_since(clerk, reader, houston):
    sell(houston, "T-1", "T-2", "T-3", net_amount="11.00")
    correct(clerk, "net_differs:net_amount:header", **{"to-net_amount": "expected"})
    lease_transaction(sale("T-3"), User.objects.get(username="clerk"))
    correct_transaction(
        sale("T-3"), User.objects.get(username="clerk"), "x", {sale("T-3"): {"net_amount": 12}}
    )
    made = TransactionChange.objects.exclude(correction=None).first().correction
    page = f"/transactions/corrections/{made}/"
    assert "3 transactions, by clerk" in reader.get(page).content.decode()
    assert "Undo</button>" not in reader.get(page).content.decode()
    assert reader.post(f"{page}undo/").status_code == 403

    told = clerk.post(f"{page}undo/", follow=True).content.decode()

    assert "Undone in 2 transactions." in told
    assert "1 transaction left unchanged" in told
    assert [int(sale(f"T-{n}").net_amount) for n in (1, 2, 3)] == [11, 11, 12]
    assert sale("T-1").errors.filter(rule="net_differs").exists()
    assert clerk.get(f"/transactions/corrections/{uuid4()}/").status_code == 404


def test_what_failed_after_the_page_was_shown_is_left(clerk, houston):
    sell(houston, "T-1", gross_amount="99.00")
    seen = clerk.get(ALIKE, {"cause": "gross_differs:gross_amount:header"}).context["upto"]
    sell(houston, "T-2", gross_amount="99.00")

    correct(
        clerk,
        "gross_differs:gross_amount:header",
        upto=seen,
        **{"to-gross_amount": "expected"},
    )

    assert [sale(number).is_mended for number in ("T-1", "T-2")] == [True, False]


def test_one_store_or_day_can_be_corrected_alone(clerk, houston, popup):
    sell(houston, "T-1", gross_amount="99.00")
    sell(popup, "T-2", gross_amount="99.00")

    correct(
        clerk,
        "gross_differs:gross_amount:header",
        channel="popup",
        date=DAY,
        **{"to-gross_amount": "expected"},
    )

    assert [sale(number).is_mended for number in ("T-1", "T-2")] == [False, True]


def test_a_correction_without_value_or_reason_is_refused_in_words(clerk, houston):
    sell(houston, "T-1", currency="EUR", payments=[])

    told = correct(
        clerk, "payment_differs:payment_amount:header", why="", **{"to-payment_amount": "value"}
    )

    assert "Enter the value, or choose another option." in told
    assert "Enter a reason." in told
    assert not TransactionChange.objects.exists()


def test_who_may_not_correct_sees_them_only(reader, houston):
    sell(houston, "T-1", gross_amount="99.00")
    cause = "gross_differs:gross_amount:header"

    page = reader.get(ALIKE, {"cause": cause})

    assert page.context["count"] == 1
    assert "You have read-only access." in page.content.decode()
    answer = reader.post(f"{ALIKE}?cause={cause}", {"to-gross_amount": "expected", "why": "x"})
    assert answer.status_code == 403
    assert reader.get(ALIKE, {"cause": "nonsense"}).status_code == 404
