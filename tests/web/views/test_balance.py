"""Nothing lost: what arrived is where the balance says, and what is not there shows in red."""

import pytest
from django.core.management import call_command
from django.db import transaction
from django.db.models import Sum

from stores.models import Company, DayBalance, Quarantine
from stores.models.balance import PARTS
from stores.pipeline.convert.balance import count_balance
from stores.pipeline.events import tables
from stores.pipeline.integrity.upload import lost_or_doubled
from tests.support.damage import broken, damage
from tests.support.make import make_customer, make_event, make_sale, run

pytestmark = pytest.mark.slow


@pytest.fixture
def day(people, houston, popup):
    """Two days of work: Ann converted, Bo waiting, Cy in quarantine; Ann edited once."""
    make_event("customer", houston, async_account=people["Ann"], operation="update")
    run("pipeline")
    make_customer(popup, "Dee")
    run("P-0001")
    return DayBalance.objects.filter(table="async_customer")


def sums(rows):
    return rows.aggregate(**{part: Sum(part) for part in ("captured", *PARTS, "difference")})


def test_each_customer_event_is_somewhere(day):
    assert sums(day) == {
        "captured": 5,
        "converted": 3,
        "linked": 0,
        "posted": 0,
        "voided": 0,
        "waiting": 1,
        "failed": 0,
        "quarantined": 1,
        "erased": 0,
        "difference": 0,
    }


def test_rows_that_belong_to_customers_are_counted_too(day):
    assert sums(DayBalance.objects.exclude(table="async_customer"))["converted"] == 2


def test_every_number_is_the_length_of_the_list_behind_it(reader, day):
    page = reader.get("/").content.decode()

    for row in day:
        for part, path, wanted in (
            ("converted", "/async-customers/", "state=converted"),
            ("waiting", "/async-customers/", "state=pending"),
            ("quarantined", "/quarantine/", "table=async_customer"),
        ):
            code, day_of_row = row.database.channel.code, f"since={row.day}&until={row.day}"
            address = f"{path}?channel={code}&{day_of_row}&{wanted}"
            listed = len(list(reader.get(address).context["table"].paginated_rows))
            assert listed == getattr(row, part)
            assert (address.replace("&", "&amp;") in page) == bool(listed)


def test_a_row_that_vanished_is_red(reader, day, houston):
    damage("DELETE FROM async_customer WHERE status = 'superseded'")
    damage("DELETE FROM async_customer WHERE first_name = 'Bo'")
    run("pipeline")

    assert sums(day)["difference"] > 0
    assert "I11" in broken()
    page = reader.get("/").content.decode()
    assert "missing rows in" in page
    assert "state-danger" in reader.get("/balance/?odd=yes").content.decode()


def test_a_row_that_nobody_sent_is_red(day):
    damage(
        """INSERT INTO async_customer SELECT (jsonb_populate_record(c, jsonb_build_object(
                  'event_id', gen_random_uuid()))).* FROM async_customer c
            WHERE first_name = 'Bo'"""
    )
    run("pipeline")

    assert sums(day)["difference"] == -1


def test_an_idle_run_counts_nothing_anew(day):
    run("pipeline")
    before = list(day.values_list("pk", "counted_at"))
    run("pipeline")

    settled = [pair for pair, row in zip(before, day, strict=True) if not row.quarantined]
    assert all(pair in list(day.values_list("pk", "counted_at")) for pair in settled)


@pytest.fixture
def sales(houston, popup):
    """Of each channel a sale that is posted, one voided, one failed, and one in quarantine.

    Then one more that waits.
    """
    for store in (houston, popup):
        ann = make_customer(store)
        for kind in ("address", "contact", "affiliation", "attribute"):
            make_event(kind, store, async_account=ann)
        make_sale(store, "10.00", "5.00", async_account=ann)
        make_sale(store, "7.00", entry_status="voided")
        make_sale(store, "8.00", net_amount="9.00")
        make_sale(store, "1.00", "2.00", "3.00", currency="X")
    run("eod")
    for store in (houston, popup):
        make_sale(store, "4.00")
    run("pipeline")


def places(table):
    """The day's rows of a table, of both channels, without what is nothing."""
    found = sums(DayBalance.objects.filter(table=table))
    return {place: rows for place, rows in found.items() if rows}


def test_a4_sales_are_in_the_balance_with_their_lines_and_payments(reader, sales):
    one = {"posted": 2, "voided": 2, "failed": 2, "quarantined": 2, "waiting": 2}
    lines = {"posted": 4, "voided": 2, "failed": 2, "quarantined": 6, "waiting": 2}

    assert places("retail_transaction") == {"captured": 10, **one}
    assert places("retail_transaction_payment") == {"captured": 10, **one}
    assert places("retail_transaction_line") == {"captured": 16, **lines}
    assert set(DayBalance.objects.values_list("table", flat=True)) == set(tables.TABLES)
    assert broken() == {}
    for address in ("/", "/balance/"):
        assert reader.get(address).status_code == 200


def test_a4_a_released_sale_counts_where_it_is_on_the_day_it_arrived(sales, houston):
    damage(
        "UPDATE quarantine SET raw = replace(convert_from(raw, 'UTF8'), '\"X\"', '\"USD\"')::bytea"
    )
    damage("UPDATE quarantine SET payload_hash = sha256(raw)")
    call_command(
        "quarantine", "release", *map(str, Quarantine.objects.values_list("pk", flat=True))
    )
    run("eod")

    assert places("retail_transaction_line")["captured"] == 16
    assert places("retail_transaction_line")["posted"] == 12
    assert lost_or_doubled() == []


def losses(table):
    """The tables that miss rows by verify's recount and by the balance, after a row is lost."""
    one = f"(SELECT id FROM {table} ORDER BY id LIMIT 1)"  # noqa: S608
    key, belonging = "ctid", ()
    if table == "retail_transaction":
        key, belonging = "id", tables.TABLES[-2:]
    with transaction.atomic():
        for part in belonging:
            damage(f"DELETE FROM {part} WHERE transaction_id = {one}")  # noqa: S608
        damage(
            f"DELETE FROM {table} WHERE {key} = (SELECT min({key}) FROM {table})"  # noqa: S608
        )
        damage("UPDATE balance SET captured = captured - 1")
        count_balance(Company.objects.get(), is_moved=True)
        recounted = {row["table"] for row in lost_or_doubled()}
        shown = set(DayBalance.objects.unbalanced().values_list("table", flat=True))
        transaction.set_rollback(True)
    return recounted, shown


def test_a4_a_loss_in_any_table_is_counted(sales):
    sale = set(tables.TABLES[-3:])
    whole = {"retail_transaction": sale, "quarantine": sale}

    found = {table: losses(table) for table in (*tables.TABLES, "quarantine")}

    assert lost_or_doubled() == []
    for table, (recounted, shown) in found.items():
        assert recounted == shown == whole.get(table, {table})
