"""Nothing lost: what arrived is where the balance says, and what is not there shows in red."""

import pytest
from django.db.models import Sum

from stores.models import DayBalance
from stores.models.balance import PARTS
from tests.make import make_customer, make_event, run
from tests.verify.damage import broken, damage


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
    assert "rows are missing" in page
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
