"""The models of a channel read and write values in the form of the contract, on both engines.

From conftest.py: `till` writes into a channel, once on PostgreSQL and once on SQLite; `sqlite_till`
writes into a channel on SQLite.
"""

import datetime
from decimal import Decimal
from uuid import UUID

import pytest
from django.core.exceptions import ValidationError

from stores.channeldb import models
from stores.channeldb.fields import UnreadableValue
from tests.support.channels import event, full_row, guid

ANN = UUID("0B0C1F0E-5B1F-4C0E-9C57-3A3A2B1C0D0E")
MOMENT = datetime.datetime(2026, 3, 1, 11, 0, tzinfo=datetime.timezone(datetime.timedelta(hours=1)))


def make_transaction(till, **columns):
    return models.RetailTransaction.objects.using(till.alias).create(
        event_id=guid(), occurred_at=MOMENT, operation="create", **columns
    )


def test_a_transaction_is_read_as_it_was_written(till):
    make_transaction(
        till,
        async_account=ANN,
        created_offline=True,
        business_date=datetime.date(2026, 3, 1),
        net_amount=Decimal("12.5"),
        line_count=2,
    )

    sale = models.RetailTransaction.objects.using(till.alias).get()
    assert sale.async_account == ANN
    assert sale.occurred_at == MOMENT
    assert sale.created_offline is True
    assert sale.business_date == datetime.date(2026, 3, 1)
    assert sale.net_amount == Decimal("12.5000")
    assert sale.line_count == 2
    assert sale.replication_counter > 0
    assert sale.acknowledged_at is None


def test_sqlite_holds_values_in_the_form_of_the_contract(sqlite_till):
    make_transaction(
        sqlite_till,
        async_account=ANN,
        created_offline=True,
        business_date=datetime.date(2026, 3, 1),
        net_amount=Decimal("-0.5"),
    )
    models.ChannelSetting.objects.using(sqlite_till.alias).create(key="a", value={"b": [1]})

    [row] = sqlite_till.sql(
        "SELECT async_account, occurred_at, created_offline, business_date, net_amount"
        " FROM retail_transaction"
    )
    assert row == (
        "0b0c1f0e-5b1f-4c0e-9c57-3a3a2b1c0d0e",
        "2026-03-01T10:00:00.000000+00:00",
        1,
        "2026-03-01",
        "-0.5000",
    )
    assert sqlite_till.sql("SELECT value, typeof(value) FROM channel_setting") == [
        ('{"b": [1]}', "text")
    ]


def test_json_is_read_as_it_was_written(till):
    settings = models.ChannelSetting.objects.using(till.alias)
    settings.create(key="features", value={"async": True})

    assert settings.get().value == {"async": True}


def test_rows_are_found_by_uuid_and_time(till):
    make_transaction(till, async_account=ANN)
    events = models.RetailTransaction.objects.using(till.alias)

    assert events.filter(async_account=ANN, occurred_at=MOMENT).exists()
    assert events.filter(async_account__in=[str(ANN)]).exists()
    assert not events.filter(async_account=UUID(int=1)).exists()


def test_unacknowledged_events_are_in_the_order_of_their_counters(till):
    for name in ("Ann", "Bo", "Cy"):
        till.insert("async_customer", **event(first_name=name))
    events = models.CustomerEvent.objects.using(till.alias)

    events.filter(first_name="Bo").update(acknowledged_at=MOMENT)

    waiting = [customer.first_name for customer in events.unacknowledged()]
    newest_first = [customer.first_name for customer in events.newest_first()]
    assert waiting == ["Ann", "Cy"]
    assert newest_first == ["Cy", "Bo", "Ann"]


def test_events_are_created_in_bulk(till):
    new_events = [
        models.CustomerEvent(event_id=guid(), occurred_at=MOMENT, operation="create")
        for _ in range(3)
    ]

    models.CustomerEvent.objects.using(till.alias).bulk_create(new_events)

    assert models.CustomerEvent.objects.using(till.alias).count() == 3


def test_a_row_with_a_composite_key_is_read_and_updated(till):
    customers = models.Customer.objects.using(till.alias)
    ann = customers.create(company="USMF", account_number="C-000001", first_name="Ann")

    ann.first_name = "Anna"
    ann.save(update_fields=["first_name"])

    assert customers.get(pk=("USMF", "C-000001")).first_name == "Anna"
    assert customers.get().is_active is True


@pytest.mark.parametrize(
    ("model", "amount"),
    [(models.RetailTransactionLine, "quantity"), (models.RetailTransactionPayment, "amount")],
)
def test_a_line_of_a_transaction_is_read_by_composite_key(till, model, amount):
    table = model._meta.db_table
    till.insert(table, **full_row(table, transaction_id="T-1", line_number=1))

    part = model.objects.using(till.alias).get(pk=("T-1", 1))

    assert str(getattr(part, amount)) == "12.5000"


@pytest.mark.parametrize("value", ["0.00001", "100000000000000", "1e30"])
def test_an_amount_that_would_be_rounded_or_cut_is_refused(till, value):
    with pytest.raises(ValueError, match="net_amount takes 14 digits and 4 places"):
        make_transaction(till, net_amount=Decimal(value))


@pytest.mark.parametrize("value", ["NaN", "Infinity"])
def test_an_amount_that_is_no_number_is_refused(till, value):
    with pytest.raises(ValidationError):
        make_transaction(till, net_amount=Decimal(value))


def test_a_time_without_a_zone_is_refused(till):
    naive = MOMENT.replace(tzinfo=None)

    with pytest.raises(ValueError, match="occurred_at needs a time with a zone"):
        models.CustomerEvent.objects.using(till.alias).create(event_id=guid(), occurred_at=naive)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("async_account", "0B0C1F0E-5B1F-4C0E-9C57-3A3A2B1C0D0E"),
        ("async_account", "{0b0c1f0e-5b1f-4c0e-9c57-3a3a2b1c0d0e}"),
        ("async_account", "0b0c1f0e5b1f4c0e9c573a3a2b1c0d0e"),
        ("async_account", b"\x01"),
        ("occurred_at", "2026-03-01 10:00:00"),
        ("occurred_at", "20260301T100000Z"),
        ("occurred_at", "2026-02-30T10:00:00Z"),
        ("net_amount", "1e5"),
        ("net_amount", "NaN"),
        ("net_amount", "1.00001"),
        ("net_amount", "1_000"),
        ("net_amount", "٣"),
    ],
)
def test_a_value_in_another_form_is_not_read(sqlite_till, column, value):
    row = event() | {column: value}
    sqlite_till.insert("retail_transaction", **row)

    with pytest.raises(UnreadableValue, match=column) as refusal:
        models.RetailTransaction.objects.using(sqlite_till.alias).get()

    assert str(value) not in str(refusal.value)


def test_the_name_of_a_row_holds_no_personal_data(till):
    till.insert("async_customer", **event(first_name="Ann"))
    till.insert("customer", company="USMF", account_number="C-000001", first_name="Ann")

    for model in (models.CustomerEvent, models.Customer):
        assert "Ann" not in str(model.objects.using(till.alias).get())


def test_the_exchange_state_is_read(till):
    state = models.ExchangeState.objects.using(till.alias).get()

    assert (state.epoch, state.account_high) == (0, {})
    assert isinstance(state.database_id, UUID)
    assert isinstance(state.nonce, UUID)
    assert state.updated_at.tzinfo is not None
