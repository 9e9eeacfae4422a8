"""The balance: each row that arrived is counted at its present place, and a lost row shows up.

From conftest.py: `houston` is a store on PostgreSQL; `popup` is one on SQLite; `reader` is a client
of a user who may see every page; `people` has Ann with an account, Bo who is pending, and Cy in
quarantine.
"""

import pytest
from django.core.management import call_command
from django.db import transaction
from django.db.models import Sum
from django.utils.html import strip_tags

from stores.models import Company, DayBalance, Quarantine
from stores.models.balance import BALANCE_PARTS
from stores.models.job import JobCode
from stores.pipeline.convert.balance import count_balance
from stores.pipeline.events.tables import TRAVELLING_TABLES
from stores.pipeline.integrity.checks import offending_rows
from stores.pipeline.integrity.upload import LOST_OR_DOUBLED
from tests.support.damage import damage
from tests.support.invariants import Invariant
from tests.support.make import make_customer, make_event, make_sale, run
from tests.support.promises import broken_promises

pytestmark = pytest.mark.slow

SALE_TABLES = {
    "retail_transaction",
    "retail_transaction_line",
    "retail_transaction_payment",
}


@pytest.fixture
def customer_balance(people, houston, popup):
    """The balance of customer events: Ann converted and edited, Bo pending, Cy in quarantine."""
    make_event("customer", houston, async_account=people["Ann"], operation="update")
    run("pipeline")
    make_customer(popup, "Dee")
    run(JobCode.UPLOAD)
    return DayBalance.objects.filter(table="async_customer")


@pytest.fixture
def sales(houston, popup):
    """In each channel one sale is posted, one voided, one failed, one quarantined, one pending."""
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


def totals(rows):
    """The sums of all days and channels."""
    parts = ("captured", *BALANCE_PARTS, "difference")
    return rows.aggregate(**{part: Sum(part) for part in parts})


def totals_of(table):
    """The sums of one table, without zeros."""
    sums = totals(DayBalance.objects.filter(table=table))
    return {part: count for part, count in sums.items() if count}


def test_each_customer_event_is_counted_at_its_place(customer_balance):
    assert totals(customer_balance) == {
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


def test_addresses_and_attributes_are_counted_too(customer_balance):
    other_tables = DayBalance.objects.exclude(table="async_customer")

    assert totals(other_tables)["converted"] == 2


def test_each_count_links_to_a_list_of_that_length(reader, customer_balance, subtests):
    overview = reader.get("/").content.decode()

    for part, path, filters in (
        ("converted", "/async-customers/", "state=converted"),
        ("waiting", "/async-customers/", "state=pending"),
        ("quarantined", "/quarantine/", "table=async_customer"),
    ):
        for row in customer_balance:
            channel = row.database.channel.code
            with subtests.test(f"{part} of {channel}"):
                url = f"{path}?channel={channel}&since={row.day}&until={row.day}&{filters}"
                count = len(list(reader.get(url).context["table"].paginated_rows))
                assert count == getattr(row, part)
                # A zero is no link.
                assert (url.replace("&", "&amp;") in overview) == (count > 0)


def test_a_lost_row_is_shown_as_an_error(reader, customer_balance, houston):
    damage(
        """DELETE FROM async_customer WHERE event_id IN (
               SELECT event_id FROM settled_event WHERE outcome = 'superseded')"""
    )
    damage("DELETE FROM async_customer WHERE first_name = 'Bo'")
    run("pipeline")

    assert totals(customer_balance)["difference"] > 0
    assert Invariant.EVERY_ROW_READ_IS_COUNTED in broken_promises()
    assert "missing rows in" in reader.get("/").content.decode()
    assert "state-danger" in reader.get("/balance/?odd=yes").content.decode()


def test_a_row_that_no_channel_sent_is_a_difference(customer_balance):
    damage(
        """INSERT INTO async_customer
           SELECT (jsonb_populate_record(
                      bo, jsonb_build_object('event_id', gen_random_uuid()))).*
             FROM async_customer bo
            WHERE bo.first_name = 'Bo'"""
    )
    run("pipeline")

    assert totals(customer_balance)["difference"] == -1


def test_an_empty_run_counts_only_days_with_quarantined_rows(customer_balance):
    def counting_times():
        rows = customer_balance.filter(quarantined=0)
        return dict(rows.values_list("pk", "counted_at"))

    run("pipeline")
    before = counting_times()
    run("pipeline")

    assert counting_times() == before


@pytest.mark.finding(id="A4")
def test_sales_are_counted_with_their_lines_and_payments(reader, sales):
    # Two channels; per channel the sales have two, one, one, three and one lines.
    sale_counts = {"posted": 2, "voided": 2, "failed": 2, "quarantined": 2, "waiting": 2}
    line_counts = {"posted": 4, "voided": 2, "failed": 2, "quarantined": 6, "waiting": 2}

    assert totals_of("retail_transaction") == {"captured": 10} | sale_counts
    assert totals_of("retail_transaction_payment") == {"captured": 10} | sale_counts
    assert totals_of("retail_transaction_line") == {"captured": 16} | line_counts
    assert set(DayBalance.objects.values_list("table", flat=True)) == set(TRAVELLING_TABLES)
    assert broken_promises() == []
    assert reader.get("/").status_code == 200
    assert reader.get("/balance/").status_code == 200


@pytest.mark.parametrize("url", ["/", "/balance/?table=retail_transaction"])
def test_each_captured_sale_is_shown_at_its_place_on_every_screen(reader, sales, url):
    page = reader.get(url).content.decode().replace("<", " <").replace("\u00a0", " ")
    text = " ".join(strip_tags(page).split())

    # Once for each of the two channels.
    assert text.count(" 5 1 posted · 1 voided · 1 waiting · 1 failed · 1 in quarantine ") == 2


@pytest.mark.finding(id="A4")
def test_a_released_sale_counts_on_the_day_it_arrived(sales, houston):
    # As if the tills had written a currency that exists.
    damage(
        "UPDATE quarantine SET raw = replace(convert_from(raw, 'UTF8'), '\"X\"', '\"USD\"')::bytea"
    )
    damage("UPDATE quarantine SET payload_hash = sha256(raw)")
    quarantined = Quarantine.objects.values_list("pk", flat=True)
    call_command("quarantine", "release", *map(str, quarantined))
    run("eod")

    lines = totals_of("retail_transaction_line")
    assert (lines["captured"], lines["posted"]) == (16, 12)
    assert offending_rows(LOST_OR_DOUBLED) == []


def delete_first_row(table):
    if table == "retail_transaction":
        first = "(SELECT min(id) FROM retail_transaction)"
        for child in ("retail_transaction_line", "retail_transaction_payment"):
            damage(f"DELETE FROM {child} WHERE transaction_id = {first}")  # noqa: S608
        damage(f"DELETE FROM retail_transaction WHERE id = {first}")  # noqa: S608
    else:
        damage(f"DELETE FROM {table} WHERE ctid = (SELECT min(ctid) FROM {table})")  # noqa: S608


def tables_with_losses(table):
    """The tables that miss rows, by verify and by the balance, if a row of this table is lost."""
    with transaction.atomic():
        delete_first_row(table)
        # Make every day out of date, so that all days are counted again.
        damage("UPDATE balance SET captured = captured - 1")
        count_balance(Company.objects.get(), is_moved=True)
        verified = {row["table"] for row in offending_rows(LOST_OR_DOUBLED)}
        shown = set(DayBalance.objects.unbalanced().values_list("table", flat=True))
        transaction.set_rollback(True)
    return verified, shown


@pytest.mark.finding(id="A4")
def test_verify_and_the_balance_find_a_loss_in_any_table(sales):
    expected = {table: {table} for table in TRAVELLING_TABLES}
    # A lost sale or quarantined sale takes its lines and payments with it.
    expected |= {"retail_transaction": SALE_TABLES, "quarantine": SALE_TABLES}

    losses = {table: tables_with_losses(table) for table in expected}

    assert losses == {table: (tables, tables) for table, tables in expected.items()}
    assert offending_rows(LOST_OR_DOUBLED) == []
