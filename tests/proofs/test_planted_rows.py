"""A row that a database refuses, whatever the reason: its neighbours go on, and a person sees it.

A trigger that nobody of us knows raises on one marked row, at each statement over many rows.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.utils import timezone

from stores.models import (
    AsyncCustomer,
    Balance,
    Case,
    Channel,
    Customer,
    CustomerAddress,
    CustomerAttribute,
    Incident,
    Quarantine,
    RetailTransaction,
    Statement,
)
from stores.pipeline.corrections.quarantine import release
from tests.support.make import (
    article,
    engine_of,
    lookup,
    make_customer,
    make_event,
    make_sale,
    query,
    run,
)

pytestmark = pytest.mark.slow

# Any code may be raised, also one that speaks of a server in trouble.
CODES = ["P0001", "23514", "40001", "57014", "53100", "42P01", "XX000"]


@contextmanager
def planted(
    table: str, condition: str, *, on: str = "INSERT", code: str = "P0001"
) -> Iterator[None]:
    """HQ's table refuses the rows of a condition on NEW, as long as the block lasts."""
    name = f"planted_{table}"
    with connection.cursor() as cursor:
        cursor.execute(
            f"""CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = '{code}'; END $$;
                CREATE TRIGGER zz_planted BEFORE {on} ON {table} FOR EACH ROW WHEN ({condition})
                EXECUTE FUNCTION {name}()"""
        )
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"DROP TRIGGER zz_planted ON {table}; DROP FUNCTION {name}()")


def told() -> set[tuple[str, str]]:
    """What people see of refused rows: cases with their reason, and open incidents."""
    cases = {("case", case.reason) for case in Case.objects.unsettled()}
    return cases | {("incident", one.subject) for one in Incident.objects.open()}


@pytest.mark.parametrize("code", CODES)
def test_s3_whatever_code_is_raised_the_row_alone_is_refused(popup, code):
    make_customer(popup, "Bad")
    make_customer(popup, "Good")

    with planted("async_customer", "NEW.first_name = 'Bad'", code=code):
        found = run("pipeline")

    assert (found["outcome"], found["counts"]["converted"]) == ("succeeded", 1)
    assert Quarantine.objects.get().reason == "refused"


def test_s3_a_refused_row_of_each_table_stops_no_upload(store):
    kept = {
        "async_customer": "NEW.last_name = 'Bad'",
        "async_address": "NEW.city = 'Bad'",
        "async_contact": "NEW.locator = 'bad@example.com'",
        "async_affiliation": "NEW.affiliation = 'BAD'",
        "async_attribute": "NEW.value = 'BAD'",
        "retail_transaction": "NEW.receipt_number = 'BAD'",
        "retail_transaction_line": "NEW.item_id = 'BAD'",
        "retail_transaction_payment": "NEW.tender_type = 'BAD'",
    }
    guid = make_customer(store, "Ann")
    for place in range(9):
        bad = place % 3 == 1
        make_customer(store, "Bo", last_name="Bad" if bad else "Lee")
        make_event("address", store, async_account=guid, city="Bad" if bad else "Bonn")
        make_event(
            "contact",
            store,
            async_account=guid,
            locator="bad@example.com" if bad else f"{place}@example.com",
        )
        make_event(
            "affiliation", store, async_account=guid, affiliation="BAD" if bad else f"A{place}"
        )
        make_event(
            "attribute",
            store,
            async_account=guid,
            attribute=f"A{place}",
            value="BAD" if bad else "M",
        )
        make_sale(store, receipt_number="BAD" if bad else "R", async_account=guid)
    parts = {"item_id": "lines", "tender_type": "payments"}
    for column, rows in parts.items():
        make_sale(store, transaction_id=f"T-{column}", **{rows: [one_row(column)]})

    with ExitStack() as triggers:
        for table, condition in kept.items():
            triggers.enter_context(planted(table, condition))
        found = run("pipeline")
        numbers = [str(row.pk) for row in Quarantine.objects.all()]
        # While it is refused, releasing it changes nothing, and is no error.
        assert release(numbers).done == 0

    assert found["outcome"] == "succeeded"
    assert set(Quarantine.objects.values_list("reason", flat=True)) == {"refused"}
    assert Quarantine.objects.count() == 3 * 6 + 2
    assert Customer.objects.filter(number__isnull=False).count() == 7
    assert RetailTransaction.objects.count() == 6
    # Kept as they came: once the rule is gone, all can be released.
    assert release(numbers).done == len(numbers)
    run("pipeline")
    assert Customer.objects.filter(number__isnull=False).count() == 10
    assert RetailTransaction.objects.count() == 11


def one_row(column: str) -> dict[str, object]:
    """A line or payment that is refused by this column."""
    payment = {"tender_type": "BAD", "amount": "10.70", "currency": "USD"}
    return article(item_id="BAD") if column == "item_id" else payment


def test_s3_what_even_quarantine_refuses_stays_in_the_channel_and_is_told(store):
    make_customer(store, "Bad", email="no address")
    good = make_customer(store, "Good")
    make_sale(store, transaction_type="gift")
    make_sale(store)

    with planted("quarantine", "NEW.reason <> ''"):
        found = run("pipeline")
        assert (found["outcome"], found["counts"]["waiting"]) == ("succeeded", 2)
        assert Customer.objects.filter(guids__async_account=good).exists()
        assert RetailTransaction.objects.count() == 1
        assert told() == {("incident", "events")}
        assert waiting(store) == 2
    run("pipeline")

    assert Quarantine.objects.count() == 2
    assert not Incident.objects.open().exists()
    assert waiting(store) == 0


def waiting(store) -> int:
    """Customers and sales that the channel has not been told to forget."""
    return sum(
        query(store, f"SELECT count(*) FROM {table} WHERE acknowledged_at IS NULL")[0][0]  # noqa: S608
        for table in ("async_customer", "retail_transaction")
    )


def test_s3_what_comes_of_a_row_is_refused_alone(houston, popup):
    """Conversion, folding, edits; then what cannot even be failed; then quarantine and balance."""
    bad, good = make_customer(houston, "Bad"), make_customer(houston, "Good")
    make_event("address", houston, async_account=good, city="Bad")
    make_event("address", houston, async_account=good, city="Bonn")

    with (
        planted("customer", "NEW.first_name = 'Bad'"),
        planted("customer_address", "NEW.city = 'Bad'"),
    ):
        found = run("pipeline")

    assert (found["outcome"], found["counts"]["converted"]) == ("succeeded", 1)
    assert CustomerAddress.objects.get().city == "Bonn"
    assert sorted(Case.objects.unsettled().values_list("reason", flat=True)) == ["refused"] * 2

    release([case.id for case in Case.objects.unsettled()])
    other = make_customer(houston, "Other")
    make_event("customer", houston, async_account=good, operation="update", first_name="Better")
    unmarked = f"NEW.status <> 'pending' AND NEW.async_account = '{bad}'"
    unwritten = "NEW.status <> 'pending' AND NEW.city = 'Bad'"
    with (
        planted("async_customer", unmarked, on="UPDATE"),
        planted("async_address", unwritten, on="UPDATE"),
    ):
        found = run("pipeline")
        assert found["outcome"] == "succeeded"
        assert Customer.objects.filter(guids__async_account=other).exists()
        assert Customer.objects.filter(first_name="Better").exists()
        assert told() == {("incident", "events of USRT")}
    found = run("pipeline")

    assert Customer.objects.filter(first_name="Bad").exists()
    assert CustomerAddress.objects.count() == 2
    assert told() == set()


def test_s3_a_day_of_the_balance_that_is_refused_stops_no_other(houston, popup):
    for store in (houston, popup):
        make_customer(store)
    condition = f"NEW.database_id = {houston.pk} AND NEW.\"table\" = 'async_customer'"

    with planted("balance", condition, on="INSERT OR UPDATE"):
        found = run("pipeline")
        assert (found["outcome"], found["counts"]["converted"]) == ("succeeded", 2)
        assert set(Balance.objects.values_list("database", flat=True)) == {popup.pk}
        assert told() == {("incident", "days of the balance of USRT")}
    make_customer(houston)
    run("pipeline")

    assert set(Balance.objects.values_list("database", flat=True)) == {houston.pk, popup.pk}
    assert told() == set()


def test_s3_a_channel_that_refuses_a_customer_gets_the_others(store, seattle):
    """Tills may have triggers of their own behind ours: on what HQ writes, and on what it marks."""
    plant(store, "customer", "INSERT", "NEW.first_name = 'Bad'")
    plant(store, "async_customer", "UPDATE", "NEW.first_name = 'Marked'")
    make_customer(seattle, "Good")
    make_customer(seattle, "Bad")
    make_customer(store, "Marked")
    make_customer(store, "Plain")

    found = run("pipeline")

    assert found["outcome"] == "succeeded"
    assert sorted(name for _, name in lookup(store)) == ["Good", "Marked", "Plain"]
    assert len(lookup(seattle)) == 4
    assert told() == {("incident", "customers"), ("incident", "events")}
    assert waiting(store) == 1

    plant(store, "customer", "INSERT", None)
    plant(store, "async_customer", "UPDATE", None)
    run("pipeline")

    assert len(lookup(store)) == 4
    assert told() == set()
    assert waiting(store) == 0


def plant(store, table: str, event: str, condition: str | None) -> None:
    """Have the channel's table refuse rows, as its owner may; without condition no more."""
    name = f"till_{table}"
    lite = engine_of(store) == "sqlite"
    if condition is None:
        query(store, f"DROP TRIGGER {name}" + ("" if lite else f" ON {table}"))
    elif lite:
        query(
            store,
            f"""CREATE TRIGGER {name} AFTER {event} ON {table} WHEN {condition}
                BEGIN SELECT RAISE(ABORT, 'refused'); END""",
        )
    else:
        query(
            store,
            f"""CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN RAISE EXCEPTION 'refused'; END $$;
                CREATE TRIGGER {name} AFTER {event} ON {table} FOR EACH ROW WHEN ({condition})
                EXECUTE FUNCTION {name}()""",
        )


def test_s3_a_failed_upload_is_not_forgiven_by_a_good_download(houston, popup):
    make_customer(popup, "Ann")
    make_customer(houston, "Bo")

    with planted("upload_session", f"NEW.database_id = {houston.pk}", code="57014"):
        run("pipeline")

    houston.refresh_from_db()
    assert (houston.failures, houston.failed_step) == (1, "upload")
    assert houston.is_paused
    assert [name for _, name in lookup(houston)] == ["Ann", "Bo"]
    run("pipeline")
    houston.refresh_from_db()
    assert (houston.failures, houston.next_try_at, houston.last_error) == (0, None, "")


def test_p7_a_time_zone_that_the_database_does_not_know_stops_nobody(houston, desk):
    """The set-up refuses one; one that a newer server leaves out sets sales without date aside."""
    channel = Channel.objects.get(pk=houston.channel_id)
    channel.time_zone = "localtime"
    with pytest.raises(ValidationError, match="time zone"):
        channel.full_clean()
    with pytest.raises(IntegrityError, match="time zone"), transaction.atomic():
        channel.save()
    forget_time_zone()
    good = make_customer(houston, "Good")
    make_sale(houston, business_date=None)
    make_sale(houston)

    found = run("pipeline")

    assert found["outcome"] == "succeeded"
    assert Customer.objects.filter(guids__async_account=good).exists()
    assert RetailTransaction.objects.count() == 1
    case = Case.objects.unsettled().get()
    assert (case.reason, case.field) == ("time_zone_unknown", "business_date")


def forget_time_zone() -> None:
    """Have houston in a zone that the database does not know, as one that a newer list leaves out.

    The set-up would refuse it.
    """
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute("UPDATE channel SET time_zone = 'Nowhere/Land' WHERE code = 'houston'")
        cursor.execute("SET session_replication_role = DEFAULT")


def test_p7_a_day_whose_end_nobody_can_tell_says_so_and_stops_no_other(houston, seattle, desk):
    Channel.objects.update(statement_mode="end_of_day")
    day = timezone.now().date() - timedelta(days=2)
    make_sale(houston, business_date=day - timedelta(days=1))
    for job in ("P-0001", "validate", "calculate-statements"):
        run(job)
    for shop in (houston, seattle):
        make_sale(shop, business_date=day)
    forget_time_zone()

    found = run("eod")

    assert found["outcome"] == "partly"
    assert [step["message"] for step in found["steps"] if step["outcome"] == "failed"] == [
        "houston: headquarters' database does not know its time zone Nowhere/Land, so its business"
        " days cannot end. Choose another time zone in the channel's settings."
    ]
    posted = Statement.objects.filter(state="posted").values_list("channel__code", "business_date")
    assert set(posted) == {("houston", day - timedelta(days=1)), ("seattle", day)}
    client = Client()
    client.force_login(desk)
    assert "does not know Nowhere/Land" in client.get("/").content.decode()
    Channel.objects.update(time_zone="America/Chicago")
    assert run("eod")["counts"]["posted"] == 1
    assert "time zone of houston" not in client.get("/").content.decode()
    # All day long no day needs to end.
    Channel.objects.update(statement_mode="trickle_feed")
    forget_time_zone()
    make_sale(houston, business_date=day)
    assert run("eod")["counts"]["posted"] == 1


def test_v10_a_guid_that_nobody_made_is_set_aside_wherever_it_stands(store):
    nil, full = UUID(int=0), UUID(int=2**128 - 1)
    good = make_customer(store, "Good")
    make_customer(store, guid=nil)
    make_customer(store, guid=full)
    make_customer(store, event_id=nil)
    make_event("address", store, async_account=good, address_id=nil)
    make_event("contact", store, async_account=good, contact_id=nil)
    make_event("affiliation", store, async_account=nil)
    make_sale(store, async_account=nil)
    make_sale(store, event_id=nil)
    make_sale(store, delivery_address_id=nil)

    found = run("pipeline")

    assert found["outcome"] == "succeeded"
    assert set(Case.objects.unsettled().values_list("reason", flat=True)) == {"guid_reserved"}
    assert Quarantine.objects.count() == 9
    assert Customer.objects.filter(guids__async_account=good).exists()


def test_v10_a_nil_guid_that_was_staged_before_is_converted(houston):
    make_customer(houston, "Old")
    run("P-0001")
    AsyncCustomer.objects.update(async_account=UUID(int=0))

    run("sync-customers")

    assert Customer.objects.filter(guids__async_account=UUID(int=0)).exists()


def test_s9_s11_what_is_too_large_or_cannot_be_printed_is_set_aside(store):
    good = make_customer(store, "Good")
    make_event("attribute", store, async_account=good, attribute="A", value="x" * 1001)
    make_event("attribute", store, async_account=good, attribute="B", value="ü" * 1000)
    make_event("attribute", store, async_account=good, attribute="C\nD")
    make_event("affiliation", store, async_account=good, affiliation="A\tB")
    make_sale(store, transaction_id="T\n1")
    make_sale(store, transaction_id="T-2", confirmation_number="C\x1b1")
    make_sale(store, transaction_id="T-3", lines=[article(item_id="A\r\nB")])
    make_sale(store, transaction_id="T-4", receipt_number="R\x7f1")
    make_sale(store, transaction_id="../../admin/")

    run("pipeline")

    cases = Counter(Case.objects.unsettled().values_list("reason", flat=True))
    assert cases == Counter(too_long=1, unprintable=6)
    assert CustomerAttribute.objects.get().attribute == "B"
    assert RetailTransaction.objects.get().transaction_id == "../../admin/"


def test_v14b_of_a_new_and_a_known_customer_the_first_keeps_the_address(houston):
    known = make_customer(houston, "Known")
    run("pipeline")
    address = uuid4()
    make_event("address", houston, async_account=known, address_id=address, city="First")
    new = make_customer(houston, "New")
    make_event("address", houston, async_account=new, address_id=address, city="Second")

    run("pipeline")

    assert CustomerAddress.objects.get().city == "First"
    case = Case.objects.unsettled().get()
    assert (case.reason, case.field) == ("belongs_to_another", "address_id")
