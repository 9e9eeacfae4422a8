"""Transactions, orders, statements and the end-of-day board in a browser."""

import csv
from datetime import date
from uuid import uuid4

import pytest
from django.utils import timezone

from stores.models import Customer, RetailTransaction, SalesOrder, Statement, TransactionChange
from tests.support.make import make_customer, make_sale, run
from tests.support.pages import SALES, rows_of

pytestmark = pytest.mark.slow

DAY = date(2026, 11, 20)


@pytest.fixture
def day(houston):
    """A posted sale of Ann's, a synchronized order of hers, and a sale that does not add up."""
    ann = make_customer(houston)
    make_sale(houston, business_date=DAY, async_account=ann, transaction_id="T-1")
    run("eod")
    make_sale(
        houston,
        business_date=DAY,
        async_account=ann,
        transaction_id="T-2",
        transaction_type="customer_order",
        confirmation_number="SO-W1",
    )
    make_sale(houston, business_date=DAY, transaction_id="T-3", net_amount="11.00")
    run("P-0001")
    run("validate")
    run("sync-orders")


def sale(number):
    return RetailTransaction.objects.get(transaction_id=number)


def test_every_sales_page_shows_what_is_there(reader, day):
    for one in (
        *RetailTransaction.objects.all(),
        *SalesOrder.objects.all(),
        Statement.objects.get(),
    ):
        assert reader.get(one.get_absolute_url()).status_code == 200
    assert (
        b"Net amount: does not equal the sum of its lines"
        in reader.get(sale("T-3").get_absolute_url()).content
    )


def test_csv_has_the_rows_of_the_list(reader, day):
    for path in SALES:
        answer = reader.get(path, {"_export": "csv"})

        count = reader.get(path).context["table"].paginator.count
        assert len(b"".join(answer.streaming_content).splitlines()) == count + 1 > 1


def test_a_statement_s_aggregated_orders_can_be_exported(reader, day):
    statement = Statement.objects.get()
    url = statement.get_absolute_url()

    all_of_them = reader.get(url, {"_export": "csv"})

    header, row = csv.reader(b"".join(all_of_them.streaming_content).decode().splitlines())
    order = SalesOrder.objects.get(statement=statement)
    assert dict(zip(header, row, strict=True)) == {
        "Customer": "005001",
        "Currency": "USD",
        "Sales": "1",
        "Net": "10.0000",
        "Tax": "0.7000",
        "Total": "10.7000",
        "State": "Order created",
        "Reason": "",
        "Order": order.number,
    }


def test_a9_only_the_failed_orders_of_a_statement_can_be_shown_and_exported(reader, houston):
    for name in ("Ann", "Bo"):
        make_sale(houston, business_date=DAY, async_account=make_customer(houston, name))
    for job in ("P-0001", "validate", "calculate-statements"):
        run(job)
    bo = Customer.objects.filter(first_name="Bo")
    bo.update(state="void")

    assert run("post-statements")["outcome"] == "failed"

    statement = Statement.objects.get()
    url, only = statement.get_absolute_url(), {"show": "failures"}
    assert (statement.state, statement.reason) == ("aggregated", "customer_not_active")
    [failed] = reader.get(url, only).context["aggregates"]
    assert failed.customer == bo.get()
    sent = reader.get(url, only | {"_export": "csv"}).getvalue().decode()
    [row] = csv.DictReader(sent.splitlines())
    assert (row["State"], row["Reason"]) == ("Failed", "customer_not_active")
    # Once her account is active again, nothing has failed.
    bo.update(state="active")
    assert run("post-statements")["counts"] == {"posted": 2}
    assert list(reader.get(url, only).context["aggregates"]) == []


def test_every_column_sorts_both_ways(reader, day):
    for path in SALES:
        table = reader.get(path).context["table"]
        for column in (one for one in table.columns if one.orderable):
            for sort in (column.name, f"-{column.name}"):
                assert reader.get(path, {"sort": sort}).status_code == 200


def test_a_receipt_or_confirmation_number_finds_its_transaction(reader, day):
    for text, number in (("SO-W1", "T-2"), ("T-3", "T-3")):
        found = rows_of(reader.get("/transactions/", {"q": text}))

        assert [row.transaction_id for row in found] == [number]


def test_transactions_can_be_listed_by_the_rule_they_break(reader, day):
    found = rows_of(reader.get("/transactions/", {"rule": "net_differs"}))

    assert [row.transaction_id for row in found] == ["T-3"]


def test_the_board_names_what_stands_in_a_day_s_way(reader, houston):
    make_sale(houston, business_date=DAY, async_account=make_customer(houston))
    make_sale(houston, business_date=DAY, async_account=uuid4())
    run("P-0001")

    [found] = reader.get("/end-of-day/").context["board"]

    assert (found.sales, found.customers) == (2, 1)
    assert [(one.reason, one.sales) for one in found.blockers] == [("customer_missing", 1)]


def test_the_board_calls_a_customer_unknown_once_validation_has_looked(reader, houston):
    make_sale(houston, business_date=DAY, async_account=uuid4())
    run("eod")

    [found] = reader.get("/end-of-day/").context["board"]

    assert [(one.reason, one.sales) for one in found.blockers] == [("customer_unknown", 1)]


def test_a_day_without_blockers_is_posted(reader, houston):
    make_sale(houston, business_date=DAY, async_account=make_customer(houston))
    run("P-0001")
    assert all(one.is_ready for one in reader.get("/end-of-day/").context["board"])

    assert run("eod")["outcome"] == "succeeded"
    assert reader.get("/end-of-day/").context["board"] == []


def test_what_a_day_leaves_out_is_listed_with_the_reason(reader, day, houston):
    make_sale(houston, business_date=DAY, transaction_id="T-4", entry_status="voided")
    run("P-0001")

    left_out = reader.get(Statement.objects.get().get_absolute_url()).context["excluded"]

    # What the order was paid is in no statement yet.
    assert [(row["reason"], row["sales"]) for row in left_out] == [
        ("net_differs", 1),
        ("not_calculated", 1),
        ("voided", 1),
    ]
    for row, number in zip(left_out, ("T-3", "T-2", "T-4"), strict=True):
        found = rows_of(reader.get("/transactions/", {"why": row["reason"], "date": DAY}))
        assert [sale.transaction_id for sale in found] == [number]


def test_the_board_counts_what_was_voided(reader, houston):
    today = timezone.now().date()
    make_sale(houston, business_date=today, transaction_id="T-1", entry_status="voided")
    make_sale(houston, business_date=today, transaction_id="T-2")
    run("P-0001")

    context = reader.get("/end-of-day/").context

    assert [found.sales for found in context["board"]] == [1]
    assert [(row["business_date"], row["sales"]) for row in context["voided"]] == [(today, 1)]
    found = rows_of(reader.get("/transactions/", {"posted": "excluded"}))
    assert [sale.transaction_id for sale in found] == ["T-1"]


def test_the_board_tells_of_sales_in_quarantine(reader, houston):
    make_sale(houston, business_date=DAY, currency="usd")
    run("P-0001")

    answer = reader.get("/end-of-day/")

    [found] = answer.context["set_aside"]
    link = "/quarantine/?channel=houston&amp;table=retail_transaction&amp;status=open"
    assert f'{link}">1 from Houston' in answer.content.decode()
    assert len(rows_of(reader.get(link.replace("&amp;", "&")))) == found["count"] == 1


def test_what_a_day_needs_a_person_for_is_on_the_overview(reader, clerk, day):
    RetailTransaction.objects.filter(transaction_id="T-3").update(order_status="failed")
    Statement.objects.create(
        company=sale("T-1").company,
        channel=sale("T-1").channel,
        business_date=date(2026, 11, 21),
        reason="period_closed",
    )
    SalesOrder.objects.filter(statement=None).update(state="on_hold", hold_code="SYNC-ERROR")

    concerns = [one for one in reader.get("/").context["alerts"] if one.count]

    assert [one.text for one in concerns] == [
        "statement not posted",
        "transaction with errors",
        "customer order failed",
        "order on hold",
    ]
    for one in concerns:
        assert reader.get(one.url).context["table"].paginator.count == one.count == 1


def opened(client, found):
    """The form of a transaction that the client has opened for correction, as it stands."""
    answer = client.post(f"/transactions/{found.pk}/correct/", {"open": "1"})
    form = answer.context["form"]
    return {name: "" if form[name].initial is None else form[name].initial for name in form.fields}


def test_a_correction_keeps_both_values_and_who_and_why(clerk, day):
    values = opened(clerk, sale("T-3"))

    clerk.post(
        f"/transactions/{sale('T-3').pk}/correct/",
        values | {"header-net_amount": "10.00", "header-gross_amount": "10.70", "why": "Typo."},
    )

    kept = TransactionChange.objects.get(field="net_amount")
    assert (kept.old, kept.new, kept.reason) == ("11.0000", "10.00", "Typo.")
    assert kept.changed_by.username == "clerk"
    run("eod")
    assert sale("T-3").validation_status == "successful"


def test_no_job_touches_what_a_person_is_correcting(clerk, houston, day):
    make_sale(houston, business_date=DAY, transaction_id="T-4")
    run("P-0001")
    opened(clerk, sale("T-4"))

    run("eod")

    assert sale("T-4").validation_status == "none"


def test_two_people_do_not_correct_one_transaction_at_once(clerk, boss, day):
    opened(clerk, sale("T-3"))

    answer = boss.post(f"/transactions/{sale('T-3').pk}/correct/", {"open": "1"}, follow=True)

    assert b"Someone else is correcting it" in answer.content


def test_who_may_not_correct_is_told_so(reader, day):
    assert reader.post(f"/transactions/{sale('T-3').pk}/correct/").status_code == 403
    assert reader.post(f"/orders/{SalesOrder.objects.first().pk}/release/").status_code == 403


def test_a_posted_day_stays_on_the_board_with_its_statement(reader, houston):
    make_sale(houston, business_date=timezone.now().date())
    run("eod")
    statement = Statement.objects.get()

    board = reader.get("/end-of-day/").content.decode()

    assert f'<a href="{statement.get_absolute_url()}">{statement}</a>' in board


def test_rules_that_say_the_same_of_different_fields_are_told_apart(reader, day):
    form = reader.get("/transactions/").context["filters"].form

    for name in ("rule", "why"):
        labels = [text for _, text in form.fields[name].choices]
        assert len(labels) == len(set(labels))
        assert "Net amount: does not equal the sum of its lines" in labels


def test_a_manager_of_the_demo_may_correct_and_release(user_of, day):
    manager = user_of("manager")
    orders = SalesOrder.objects.filter(statement=None)
    orders.update(state="on_hold", hold_code="SYNC-ERROR")

    assert b"Correct</button>" in manager.get(sale("T-3").get_absolute_url()).content
    assert opened(manager, sale("T-3"))
    order = orders.get()
    assert b"Release the hold" in manager.get(order.get_absolute_url()).content
    manager.post(f"/orders/{order.pk}/release/")
    assert orders.get().state == "open"


def test_the_overview_tells_nobody_to_do_what_he_or_she_may_not(user_of, day):
    make_customer(sale("T-3").channel.databases.get(), email="nobody")
    run("P-0001")
    SalesOrder.objects.filter(statement=None).update(state="on_hold", hold_code="SYNC-ERROR")

    viewer, manager = (
        [one.next_step for one in user_of(role).get("/").context["alerts"] if one.count]
        for role in ("viewer", "manager")
    )

    assert viewer == [
        "Ask someone with permission to correct transactions.",
        "They failed before or were corrected. Ask someone with permission to release them.",
        "Correct it at the till, or ask someone with permission to correct it here.",
    ]
    assert manager == [
        "Correct them one by one, or all with the same cause at once.",
        "They failed before or were corrected. Review and release them.",
        "Correct it here or at the till. The corrected event replaces this row.",
    ]


@pytest.mark.parametrize(
    ("page", "may", "may_not"),
    [
        (
            "/end-of-day/",
            "Correct the transaction, or all",
            "Ask someone with permission to correct",
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
        (
            "/end-of-day/",
            "Release or correct them in quarantine",
            "Ask someone with permission to release",
        ),
        ("/quarantine/", "Correct it here or at the till", "Correct it at the till, or ask"),
        ("/quarantine/?_export=csv", "Correct it here or at", "Correct it at the till, or ask"),
    ],
)
def test_no_page_tells_anybody_to_do_what_he_or_she_may_not(user_of, day, page, may, may_not):
    database = sale("T-3").channel.databases.get()
    make_customer(database, email="nobody")
    make_sale(database, currency="usd")
    run("P-0001")

    auditor, manager = (text_of(user_of(role).get(page)) for role in ("auditor", "manager"))

    assert (may in manager, may_not in manager) == (True, False)
    assert (may in auditor, may_not in auditor) == (False, True)


def text_of(answer):
    return b"".join(answer).decode() if answer.streaming else answer.content.decode()


def test_a_corrected_order_is_on_hold_until_it_is_released(clerk, boss, houston):
    make_sale(
        houston,
        business_date=DAY,
        transaction_type="customer_order",
        confirmation_number="SO-1",
        transaction_id="T-1",
        async_account=make_customer(houston),
        net_amount="11.00",
    )
    run("P-0001")
    run("sync-orders")
    values = opened(clerk, sale("T-1"))
    clerk.post(
        f"/transactions/{sale('T-1').pk}/correct/",
        values | {"header-net_amount": "10.00", "header-gross_amount": "10.70", "why": "Typo."},
    )

    run("sync-orders")

    order = SalesOrder.objects.get()
    assert (order.state, order.hold_code) == ("on_hold", "SYNC-ERROR")
    boss.post(f"/orders/{order.pk}/release/")
    assert SalesOrder.objects.get().state == "open"
