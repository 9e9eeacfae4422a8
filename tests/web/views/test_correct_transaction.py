"""Correcting a transaction and releasing an order, and what pages advise users of each role.

From conftest.py: `houston` is a store on PostgreSQL; `reader` is a client of a user who may see
every page; `boss` is a client of an administrator; `clerk` is a client of a user who may correct
sales; `user_of` makes a client of a user with a role; `sales_day` is a business date that has
ended; `sales` has T-1, a posted sale, T-2, a synchronized order, and T-3, which does not add up;
`open_correction` opens the form that corrects a sale.
"""

from datetime import date

import pytest

from stores.models import RetailTransaction, SalesOrder, Statement, TransactionChange
from stores.models.job import JobCode
from tests.support.make import make_customer, make_sale, run
from tests.support.orders import make_order
from tests.support.pages import text_of

pytestmark = pytest.mark.slow

CORRECT_AMOUNTS = {"header-net_amount": "10.00", "header-gross_amount": "10.70", "why": "Typo."}


def get_sale(transaction_id):
    return RetailTransaction.objects.get(transaction_id=transaction_id)


def hold_order():
    SalesOrder.objects.filter(statement=None).update(state="on_hold", hold_code="SYNC-ERROR")


def test_a_correction_stores_both_values_the_user_and_the_reason(clerk, sales, open_correction):
    sale = get_sale("T-3")
    form = open_correction(clerk, sale)

    clerk.post(f"/transactions/{sale.pk}/correct/", form | CORRECT_AMOUNTS)

    change = TransactionChange.objects.get(field="net_amount")
    assert (change.old, change.new, change.reason) == ("11.0000", "10.00", "Typo.")
    assert change.changed_by.username == "clerk"
    run("eod")
    assert get_sale("T-3").validation_status == "successful"


def test_jobs_skip_a_transaction_that_a_user_is_correcting(
    clerk, houston, sales, sales_day, open_correction
):
    make_sale(houston, business_date=sales_day, transaction_id="T-4")
    run(JobCode.UPLOAD)
    open_correction(clerk, get_sale("T-4"))

    run("eod")

    assert get_sale("T-4").validation_status == "none"


def test_a_second_user_cannot_correct_the_same_transaction(clerk, boss, sales, open_correction):
    sale = get_sale("T-3")
    open_correction(clerk, sale)

    response = boss.post(f"/transactions/{sale.pk}/correct/", {"open": "1"}, follow=True)

    assert "Someone else is correcting it" in text_of(response)


def test_a_user_without_the_permission_cannot_correct_or_release(reader, sales):
    sale, order = get_sale("T-3"), SalesOrder.objects.first()

    correction = reader.post(f"/transactions/{sale.pk}/correct/")
    release = reader.post(f"/orders/{order.pk}/release/")

    assert correction.status_code == 403
    assert release.status_code == 403


def test_a_manager_can_correct_a_transaction(user_of, sales, open_correction):
    manager = user_of("manager")
    sale = get_sale("T-3")

    page = text_of(manager.get(sale.get_absolute_url()))
    form = open_correction(manager, sale)

    assert "Correct</button>" in page
    assert "header-net_amount" in form


def test_a_user_without_permission_cannot_release_an_order(reader, sales):
    hold_order()

    page = text_of(reader.get(SalesOrder.objects.get(statement=None).get_absolute_url()))

    assert "On hold" in page
    assert "Release the hold" not in page


def test_a_manager_can_release_an_order(user_of, sales):
    manager = user_of("manager")
    hold_order()
    order = SalesOrder.objects.get(statement=None)

    page = text_of(manager.get(order.get_absolute_url()))
    manager.post(f"/orders/{order.pk}/release/")

    assert "Release the hold" in page
    order.refresh_from_db()
    assert order.state == "open"


@pytest.fixture
def corrected_order(clerk, houston, sales_day, open_correction) -> SalesOrder:
    """The sales order of a customer order that failed, and that the clerk has corrected since."""
    make_order(
        houston,
        "SO-1",
        transaction_id="T-1",
        business_date=sales_day,
        async_account=make_customer(houston),
        net_amount="11.00",
    )
    run(JobCode.UPLOAD)
    run("sync-orders")
    sale = get_sale("T-1")
    form = open_correction(clerk, sale)
    clerk.post(f"/transactions/{sale.pk}/correct/", form | CORRECT_AMOUNTS)
    run("sync-orders")
    return SalesOrder.objects.get()


def test_a_corrected_order_is_on_hold(corrected_order):
    assert (corrected_order.state, corrected_order.hold_code) == ("on_hold", "SYNC-ERROR")


def test_an_administrator_releases_a_corrected_order(boss, corrected_order):
    boss.post(f"/orders/{corrected_order.pk}/release/")

    corrected_order.refresh_from_db()
    assert corrected_order.state == "open"


def test_the_overview_counts_what_needs_attention_with_links(reader, sales):
    RetailTransaction.objects.filter(transaction_id="T-3").update(order_status="failed")
    posted = get_sale("T-1")
    Statement.objects.create(
        company=posted.company,
        channel=posted.channel,
        business_date=date(2026, 11, 21),
        reason="period_closed",
    )
    hold_order()

    alerts = [alert for alert in reader.get("/").context["alerts"] if alert.count]

    assert [alert.text for alert in alerts] == [
        "statement not posted",
        "transaction with errors",
        "customer order failed",
        "order on hold",
    ]
    for alert in alerts:
        assert alert.count == reader.get(alert.url).context["table"].paginator.count == 1


@pytest.mark.parametrize(
    ("role", "next_steps"),
    [
        (
            "viewer",
            [
                "Ask someone with permission to correct transactions.",
                "They failed before or were corrected. Ask someone with permission to release"
                " them.",
                "Correct it at the till, or ask someone with permission to correct it here.",
            ],
        ),
        (
            "manager",
            [
                "Correct them one by one, or all with the same cause at once.",
                "They failed before or were corrected. Review and release them.",
                "Correct it here or at the till. The corrected event replaces this row.",
            ],
        ),
    ],
    ids=["viewer", "manager"],
)
def test_the_overview_advises_only_what_the_user_may_do(user_of, houston, sales, role, next_steps):
    make_customer(houston, email="nobody")
    run(JobCode.UPLOAD)
    hold_order()

    alerts = user_of(role).get("/").context["alerts"]

    assert [alert.next_step for alert in alerts if alert.count] == next_steps


# On each page: what a manager may do, and what an auditor is told instead.
ADVICE = [
    (
        "/end-of-day/",
        "Correct the transaction, or all",
        "Ask someone with permission to correct",
    ),
    (
        "/end-of-day/",
        "Release or correct them in quarantine",
        "Ask someone with permission to release",
    ),
    (
        "/transactions/failed/",
        "Correct the transaction, or all",
        "Ask someone with permission to",
    ),
    (
        "/transactions/failed/",
        "to correct all of them at once",
        "Ask someone with permission to",
    ),
    ("/quarantine/", "Correct it here or at the till", "Correct it at the till, or ask"),
    ("/quarantine/?_export=csv", "Correct it here or at", "Correct it at the till, or ask"),
]


def test_no_page_advises_what_the_user_may_not_do(user_of, houston, sales, subtests):
    make_customer(houston, email="nobody")
    make_sale(houston, currency="usd")
    run(JobCode.UPLOAD)
    manager, auditor = user_of("manager"), user_of("auditor")

    for url, advice_to_manager, advice_to_auditor in ADVICE:
        with subtests.test(f"{url}: {advice_to_manager}"):
            page_of_manager = text_of(manager.get(url))
            page_of_auditor = text_of(auditor.get(url))

            assert advice_to_manager in page_of_manager
            assert advice_to_auditor not in page_of_manager
            assert advice_to_auditor in page_of_auditor
            assert advice_to_manager not in page_of_auditor
