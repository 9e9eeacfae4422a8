"""Upload stages a sale once and with all of its parts, or quarantines it with the reason.

From conftest.py: `houston` is a store on PostgreSQL; `popup` is one on SQLite; `store` is a store,
once on PostgreSQL and once on SQLite; `command` calls a management command and returns its output;
`boss` is a client of an administrator.
"""

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from uuid import uuid4

import pytest
from django.utils import timezone

from stores.channeldb.connect.url import sqlite_path
from stores.models import (
    Channel,
    Incident,
    IncompleteDocument,
    Quarantine,
    RetailTransaction,
    TransactionError,
)
from stores.models.incident import IncidentKind
from stores.models.job import JobCode
from stores.pipeline.register import add_register
from stores.traffic import write_traffic
from stores.traffic.store import fresh_seed
from tests.support.channels import change
from tests.support.make import article, make_customer, make_sale, query, run, write


def quarantined():
    """Reason and field of each quarantined sale."""
    return list(Quarantine.objects.order_by("pk").values_list("reason", "field"))


def staged():
    """The transaction ids of the staged sales."""
    return sorted(RetailTransaction.objects.values_list("transaction_id", flat=True))


def unacknowledged(store):
    """The transaction ids of the sales that the channel would send again."""
    rows = query(
        store, "SELECT transaction_id FROM retail_transaction WHERE acknowledged_at IS NULL"
    )
    return sorted(transaction_id for (transaction_id,) in rows)


def test_a_sale_arrives_with_its_lines_and_payments(store):
    make_sale(store, "10.00", "5.00", transaction_id="T-1")

    upload = run(JobCode.UPLOAD)

    sale = RetailTransaction.objects.get()
    assert upload["counts"] == {"read": 1, "staged": 1}
    assert sale.lines.count() == 2
    assert [payment.amount for payment in sale.payments.all()] == [sale.gross_amount]
    assert unacknowledged(store) == []


def test_uploading_a_sale_twice_stages_it_once(store):
    make_sale(store, transaction_id="T-1")
    run(JobCode.UPLOAD)

    assert run(JobCode.UPLOAD)["outcome"] == "nothing_to_do"
    assert staged() == ["T-1"]


def test_a_header_without_its_lines_waits_in_the_channel(store):
    make_sale(store, transaction_id="T-1", line_count=2)
    make_sale(store, transaction_id="T-2")

    upload = run(JobCode.UPLOAD)

    assert upload["counts"] == {"read": 2, "staged": 1, "waiting": 1}
    assert staged() == ["T-2"]
    assert unacknowledged(store) == ["T-1"]


def test_a_waiting_header_is_staged_once_its_lines_are_there(store):
    make_sale(store, transaction_id="T-1", line_count=2)
    run(JobCode.UPLOAD)
    write(
        store,
        "retail_transaction_line",
        {"transaction_id": "T-1", "line_number": 2} | article(),
    )

    run(JobCode.UPLOAD)

    assert staged() == ["T-1"]


def test_a_header_whose_lines_never_arrive_is_quarantined(store):
    make_sale(store, transaction_id="T-1", line_count=2)
    run(JobCode.UPLOAD)
    long_ago = timezone.now() - timedelta(minutes=16)
    IncompleteDocument.objects.update(first_seen_at=long_ago)

    run(JobCode.UPLOAD)

    assert quarantined() == [("document_incomplete", "line_count")]
    assert unacknowledged(store) == []


def test_a_sale_that_is_too_large_stays_in_its_channel(store):
    make_sale(store, transaction_id="T-1", line_count=2)
    # Past the limit on values that HQ's own connections have.
    change(
        store,
        f"""INSERT INTO retail_transaction_line (transaction_id, line_number, description)
            VALUES ('T-1', 2, '{"x" * 10_000_000}')""",  # noqa: S608 - our own text
    )
    make_sale(store, transaction_id="T-2")

    upload = run(JobCode.UPLOAD)

    assert upload["counts"] == {"read": 1, "staged": 1, "waiting": 1}
    assert staged() == ["T-2"]
    assert unacknowledged(store) == ["T-1"]
    assert Incident.objects.open().get().kind == IncidentKind.EVENT_TOO_LARGE


@pytest.fixture
def lane(store):
    """A register of the store with a database of its own."""
    database = add_register(
        code=store.channel.code, register="lane-1", database="sqlite:///channels/lane.sqlite3"
    )
    yield database
    sqlite_path(database).unlink()


@pytest.mark.scenario(id="C5")
def test_a_sale_sent_again_by_a_second_register_is_staged_once(store, lane):
    moment = timezone.now()
    make_sale(store, "10.00", transaction_id="T-1", occurred_at=moment)
    run(JobCode.UPLOAD)
    make_sale(lane, "10.00", transaction_id="T-1", occurred_at=moment)

    upload = run(JobCode.UPLOAD)

    assert upload["counts"] == {"read": 1, "unchanged": 1}
    assert staged() == ["T-1"]
    assert quarantined() == []
    assert unacknowledged(lane) == []


@pytest.mark.scenario(id="C5")
def test_another_sale_with_the_same_transaction_id_is_quarantined(store, lane):
    first = uuid4()
    make_sale(store, "10.00", transaction_id="T-1", event_id=first)
    run(JobCode.UPLOAD)
    make_sale(lane, "99.00", transaction_id="T-1")

    run(JobCode.UPLOAD)

    assert quarantined() == [("document_conflict", "transaction_id")]
    assert RetailTransaction.objects.get().event_id == first


@pytest.mark.scenario(id="C2")
def test_a_sale_with_an_unreadable_amount_is_quarantined_whole(store):
    lines = [article(description="Velvet lamp")]
    make_sale(store, transaction_id="T-1", tax_amount="NaN", lines=lines)
    make_sale(store, transaction_id="T-2")

    run(JobCode.UPLOAD)

    assert quarantined() == [("amount_format", "tax_amount")]
    assert staged() == ["T-2"]
    assert b"Velvet lamp" in bytes(Quarantine.objects.get().raw)


@pytest.mark.scenario(id="C3")
def test_a_sale_with_too_large_an_amount_is_quarantined(popup):
    make_sale(popup, transaction_id="T-1", lines=[article() | {"price": "1" + 20 * "0"}])
    make_sale(popup, transaction_id="T-2")

    run(JobCode.UPLOAD)

    assert quarantined() == [("overflow", "price")]
    assert staged() == ["T-2"]


def test_sales_of_a_broken_till_have_the_expected_reasons(store):
    seed = fresh_seed("NLD")
    good = write_traffic(store, customers=1, sales=12, orders=6, seed=seed)
    # With the same seed the same sales would be written again.
    faulty = write_traffic(store, customers=0, sales=18, orders=12, faulty=1, seed=seed - 1)

    for job in (JobCode.UPLOAD, JobCode.VALIDATE):
        run(job)

    assert (good.faulty_sales, faulty.faulty_sales) == (0, 30)
    assert Counter(reason for reason, _ in quarantined()) == faulty.quarantined
    errors = TransactionError.objects.values_list("rule", flat=True)
    assert Counter(errors) == faulty.invalid


def test_a_sale_without_a_business_date_gets_its_store_s(store):
    Channel.objects.update(time_zone="America/Chicago", day_ends_at="04:00")
    moment = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
    make_sale(store, occurred_at=moment, business_date=None)

    run(JobCode.UPLOAD)

    assert RetailTransaction.objects.get().business_date == date(2026, 3, 1)


def test_a_sale_may_name_a_customer_who_is_pending(store):
    ann = make_customer(store)
    make_sale(store, async_account=ann)

    run(JobCode.UPLOAD)

    assert RetailTransaction.objects.get().async_account == ann


@pytest.fixture
def case(houston) -> str:
    """The id of a quarantined sale with an amount that is no number."""
    make_sale(houston, transaction_id="T-1", tax_amount="NaN")
    run(JobCode.UPLOAD)
    return str(Quarantine.objects.get().pk)


def test_a_quarantined_sale_is_shown_and_can_be_corrected(case, boss):
    assert b"T-1" in boss.get(f"/quarantine/{case}/").content
    assert boss.get(f"/quarantine/{case}/correct/").status_code == 200


def test_a_sale_that_still_breaks_its_rule_is_not_released(case, boss):
    response = boss.post("/quarantine/release/", {"case": case}, follow=True)

    assert response.status_code == 200
    assert Quarantine.objects.get().status == "open"


def test_a_quarantined_sale_can_be_dismissed(case, command):
    command("quarantine", "dismiss", case, "--reason", "Training till.")

    assert Quarantine.objects.get().status == "dismissed"
