"""What channels let through and HQ cannot use: set aside as it came, while its neighbours go on.

Groups A and B of the bad input in the reliability design.
"""

import base64
import json
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connections
from django.utils import timezone

from stores.channeldb.connection import connect
from stores.models import (
    AsyncCustomer,
    AttributeDefinition,
    ChannelDatabase,
    Company,
    Customer,
    CustomerAddress,
    CustomerContact,
    Quarantine,
    UploadSession,
)
from stores.pipeline.accounts import import_account
from stores.pipeline.kinds import KINDS
from stores.traffic.faults import FAMILY, FLAG, IDEOGRAPH, RawText, insert_exactly
from tests.make import OWN, as_sqlite, make_customer, make_event, query, run

TODAY = timezone.now()
SQLITE, POSTGRESQL = "sqlite", "postgresql"


@dataclass(frozen=True)
class Bad:
    """A row out of order: its columns, and why and in which field HQ refuses it."""

    reason: str
    field: str
    columns: dict[str, Any] = field(default_factory=dict)
    kind: str = "customer"
    engine: str = ""


def too_long(kind: str, **limits: int) -> list[Bad]:
    """One row for each column, one character longer than HQ can hold."""
    return [
        Bad("too_long", column, {column: "1" * (limit + 1)}, kind)
        for column, limit in limits.items()
    ]


BAD = [
    # A1, A2: identity
    Bad("key_missing", "async_account", {"async_account": None}),
    Bad("guid_missing", "async_account", {"async_account": None, "account_number": "005001"}),
    Bad("key_missing", "event_id", {"event_id": ""}, engine=SQLITE),
    Bad("key_missing", "event_id", {"event_id": "till-9-1"}, engine=SQLITE),
    Bad("key_missing", "event_id", {"event_id": b"\x00" * 16}, engine=SQLITE),
    Bad("guid_format", "async_account", {"async_account": ""}, engine=SQLITE),
    Bad("guid_format", "async_account", {"async_account": f"{{{uuid4()}}}"}, engine=SQLITE),
    Bad("guid_format", "async_account", {"async_account": uuid4().urn}, engine=SQLITE),
    Bad("guid_format", "async_account", {"async_account": uuid4().hex}, engine=SQLITE),
    Bad("guid_format", "async_account", {"async_account": str(uuid4()).upper()}, engine=SQLITE),
    Bad("guid_format", "async_account", {"async_account": f"{uuid4()}\n"}, engine=SQLITE),
    # A5, A11: form of texts
    Bad("encoding", "last_name", {"last_name": RawText("Müller".encode()[:2])}, engine=SQLITE),
    Bad("encoding", "last_name", {"last_name": RawText(b"\xed\xa0\x80")}, engine=SQLITE),
    Bad("encoding", "last_name", {"last_name": "L\0e"}, engine=SQLITE),
    Bad("type", "first_name", {"first_name": b"\x00\x01Ann"}, engine=SQLITE),
    # A8: dates and times
    Bad("date_range", "birth_date", {"birth_date": (TODAY + timedelta(days=2)).date()}),
    Bad("date_range", "birth_date", {"birth_date": "2999-12-31"}),
    Bad("date_range", "birth_date", {"birth_date": "1899-12-31"}),
    Bad("date_range", "birth_date", {"birth_date": "10000-01-01"}, engine=POSTGRESQL),
    Bad("date_range", "birth_date", {"birth_date": "infinity"}, engine=POSTGRESQL),
    Bad("date_range", "birth_date", {"birth_date": "0044-03-15 BC"}, engine=POSTGRESQL),
    Bad("date_format", "birth_date", {"birth_date": "0000-00-00"}, engine=SQLITE),
    Bad("date_format", "birth_date", {"birth_date": "2025-02-29"}, engine=SQLITE),
    Bad("date_format", "birth_date", {"birth_date": "1.3.1990"}, engine=SQLITE),
    Bad("time_format", "occurred_at", {"occurred_at": "yesterday"}, engine=SQLITE),
    Bad("time_format", "occurred_at", {"occurred_at": "2026-02-30T10:00:00+00:00"}, engine=SQLITE),
    Bad("time_format", "occurred_at", {"occurred_at": "2026-03-01T10:00:00"}, engine=SQLITE),
    Bad("time_range", "occurred_at", {"occurred_at": "1815-06-18T11:35:00+00:00"}),
    Bad("time_range", "occurred_at", {"occurred_at": "9999-12-31T23:59:59+00:00"}),
    Bad("time_range", "occurred_at", {"occurred_at": "infinity"}, engine=POSTGRESQL),
    Bad("time_range", "occurred_at", {"occurred_at": "-infinity"}, engine=POSTGRESQL),
    # A9: company
    Bad("company_mismatch", "account_number", {"account_number": "E-0001"}),
    Bad("company_mismatch", "account_number", {"account_number": "ZZ-000001"}),
    Bad("company_mismatch", "account_number", {"account_number": "E-0001"}, "address"),
    # Words, names and forms
    Bad("unknown_word", "operation", {"operation": "upsert"}),
    Bad("unknown_word", "operation", {"operation": None}),
    Bad("unknown_word", "customer_type", {"customer_type": "robot"}),
    Bad("unknown_word", "currency", {"currency": "usd"}),
    Bad("unknown_word", "language", {"language": "english"}),
    Bad("name_missing", "last_name", {"last_name": " ", "first_name": None}),
    Bad("name_missing", "name", {"customer_type": "organization", "name": ""}),
    Bad("email_format", "email", {"email": "ann.example.com"}),
    Bad("email_format", "email", {"email": "ann@example.com\nBcc: all@example.com"}),
    Bad("email_format", "receipt_email", {"receipt_email": "ann@localhost"}),
    Bad("phone_format", "phone", {"phone": "call me"}),
    *too_long("customer", first_name=60, middle_name=60, last_name=60, name=300, title=20),
    *too_long("customer", language=7, currency=3, customer_group=20, email=255, phone=60),
    *too_long("customer", receipt_email=255, vat_number=30, staff_id=25, terminal_id=10),
    *too_long("customer", account_number=20),
    # B: addresses and what else belongs to a customer
    Bad("guid_format", "address_id", {"address_id": "front door"}, "address", SQLITE),
    Bad("type", "is_primary", {"is_primary": "maybe"}, "address", SQLITE),
    Bad("type", "is_primary", {"is_primary": 9e999}, "address", SQLITE),
    Bad("encoding", "street", {"street": "Main\0Street"}, "address", SQLITE),
    Bad("unknown_word", "purpose", {"purpose": "holiday"}, "address"),
    Bad("country_unknown", "country", {"country": "XQZ"}, "address"),
    Bad("country_unknown", "country", {"country": "usa"}, "address"),
    *too_long("address", description=60, street=250, street_number=20, building=60, city=60),
    *too_long("address", county=10, state=10, postal_code=10, country=3),
    Bad("unknown_word", "kind", {"kind": "fax"}, "contact"),
    Bad("unknown_word", "kind", {"kind": None}, "contact"),
    Bad("value_missing", "locator", {"locator": None}, "contact"),
    Bad("email_format", "locator", {"locator": "nobody"}, "contact"),
    Bad("phone_format", "locator", {"kind": "phone", "locator": "nobody"}, "contact"),
    Bad("too_long", "locator", {"kind": "url", "locator": "x" * 256}, "contact"),
    *too_long("contact", description=60),
    Bad("value_missing", "affiliation", {"affiliation": " "}, "affiliation"),
    Bad("value_missing", "affiliation", {"affiliation": None}, "affiliation"),
    *too_long("affiliation", affiliation=20),
    Bad("value_missing", "attribute", {"attribute": None}, "attribute"),
    *too_long("attribute", attribute=60),
    Bad("attribute_invalid", "value", {"attribute": "AGE", "value": "young"}, "attribute"),
    Bad("attribute_invalid", "value", {"attribute": "AGE", "value": "131"}, "attribute"),
    Bad("attribute_invalid", "value", {"attribute": "HAT", "value": "XXL"}, "attribute"),
    Bad("attribute_invalid", "value", {"attribute": "VIP", "value": "perhaps"}, "attribute"),
]
ODD_NAMES = [
    (FAMILY, f"{FLAG}{IDEOGRAPH}"),
    ("小明", "王"),
    ("ليلى", "כהן"),
    ("<script>alert(1)</script>", "\"'><img src=x onerror=alert(1)>{{ 7*7 }}"),
    ("Robert'); DROP TABLE customer;--", "tab\tnew\nline\\N"),
]


@pytest.fixture
def other_company(hq) -> None:
    """A company with an account that the channels' own company never issued."""
    company = Company.objects.create(code="EURT", name="Europe")
    import_account(company, "E-0001", deliver=False)


@pytest.fixture
def definitions(store) -> None:
    """Attributes that take certain values only."""
    define = AttributeDefinition(company=store.channel.company)
    for name, values in {
        "AGE": {"data_type": "integer", "smallest": 0, "largest": 130},
        "HAT": {"options": ["S", "M", "L"]},
        "VIP": {"data_type": "boolean"},
    }.items():
        AttributeDefinition.objects.create(company=define.company, name=name, **values)


def write_exactly(database: ChannelDatabase, bad: Bad) -> tuple[str, str]:
    """Write a bad row with its bytes as they are. Returns its table and counter."""
    row: dict[str, Any] = {"event_id": uuid4(), "occurred_at": TODAY, "operation": "create"}
    row |= {"async_account": uuid4()} | OWN[bad.kind]
    if bad.kind in ("address", "contact"):
        row[f"{bad.kind}_id"] = uuid4()
    table = f"async_{bad.kind}"
    with connect(database) as alias, connections[alias].cursor() as cursor:
        values = {
            column: str(value) if isinstance(value, UUID) else as_sqlite(value)
            for column, value in (row | bad.columns).items()
        }
        if cursor.db.vendor == POSTGRESQL:
            values = {
                c: str(v) if isinstance(v, UUID) else v for c, v in (row | bad.columns).items()
            }
        insert_exactly(cursor, table, values)
        cursor.execute(f"SELECT max(replication_counter) FROM {table}")  # noqa: S608
        return table, str(cursor.fetchone()[0])


def engine_of(database: ChannelDatabase) -> str:
    return SQLITE if database.url.startswith("sqlite") else POSTGRESQL


def unacknowledged(database: ChannelDatabase) -> int:
    """How many events the channel has that HQ has not taken over."""
    statement = "SELECT count(*) FROM {} WHERE acknowledged_at IS NULL"
    return sum(query(database, statement.format(kind.event))[0][0] for kind in KINDS)


def as_found(database: ChannelDatabase, table: str, counter: str) -> dict[str, Any]:
    """A row of the channel: bytes for texts, numbers as numbers."""
    columns = next(kind.sent for kind in KINDS if kind.event == table)
    with connect(database) as alias:
        raw = connections[alias].connection
        casts = "" if engine_of(database) == SQLITE else "::text"
        names = ", ".join(f"{column}{casts}" for column in columns)
        statement = f"SELECT {names} FROM {table} WHERE replication_counter = {counter}"  # noqa: S608
        if engine_of(database) == SQLITE:
            raw.text_factory = bytes
            values = raw.execute(statement).fetchone()
        else:
            with connections[alias].cursor() as cursor:
                cursor.execute(statement)
                values = cursor.fetchone()
    return {
        c: v.encode() if isinstance(v, str) else v for c, v in zip(columns, values, strict=True)
    }


def as_kept(row: Quarantine) -> dict[str, Any]:
    """The same, from what HQ has kept of it."""

    def back(value: Any) -> Any:
        if isinstance(value, dict):
            return base64.b64decode(value["base64"])
        return value.encode() if isinstance(value, str) else value

    return {column: back(value) for column, value in json.loads(bytes(row.raw)).items()}


def texts_of(table: str) -> set[str]:
    """The columns that hold texts; a number or a time may be kept in another spelling."""
    kind = next(kind for kind in KINDS if kind.event == table)
    return {column for column in kind.sent if kind.type_of(column) == "text"}


def test_every_bad_row_is_set_aside_as_it_came_and_its_neighbours_go_on(
    store, other_company, definitions
):
    bad = [bad for bad in BAD if bad.engine in ("", engine_of(store))]
    good = [make_customer(store, "Ann")]
    expected = {write_exactly(store, row): (row.reason, row.field) for row in bad}
    good += [make_customer(store, "Bo")]
    make_event("address", store, async_account=good[0])

    found = run("pipeline")

    kept = {(row.table, row.row_key): row for row in Quarantine.objects.all()}
    assert {key: (row.reason, row.field) for key, row in kept.items()} == expected
    for key, row in kept.items():
        as_it_came, as_it_is_kept = as_found(store, *key), as_kept(row)
        unread = {row.field} if row.reason.endswith("_format") else set()
        for column in unread | texts_of(row.table):
            assert as_it_is_kept[column] == as_it_came[column], (key, column)
    assert unacknowledged(store) == 0
    assert (found["counts"]["quarantined"], found["counts"]["staged"]) == (len(bad), 3)
    assert set(Customer.objects.exclude(number=None).values_list("first_name", flat=True)) == {
        "Ann",
        "Bo",
    }
    assert CustomerAddress.objects.get().customer.first_name == "Ann"


def test_one_bad_row_among_two_hundred_stops_none_of_them(store):
    for number in range(200):
        if number == 77:
            make_customer(store, email="nobody")
        make_customer(store, f"Ann {number}")

    found = run("pipeline")

    assert found["counts"]["quarantined"] == 1
    assert found["counts"]["converted"] == 200


def test_a_bad_row_uploaded_again_is_not_kept_twice(store):
    make_customer(store, email="nobody")
    run("P-0001")
    query(store, "UPDATE async_customer SET acknowledged_at = NULL")

    found = run("P-0001")

    assert found["counts"] == {"read": 1, "unchanged": 1}
    assert Quarantine.objects.get().attempts == 2
    assert unacknowledged(store) == 0


def test_a_bad_row_is_superseded_by_its_correction(store):
    guid = make_customer(store, email="nobody")
    run("pipeline")
    make_customer(store, guid=guid, email="ann@example.com")

    run("pipeline")

    assert Quarantine.objects.get().status == "superseded"
    assert Customer.objects.get(account_number="005001").email == "ann@example.com"


@pytest.mark.parametrize("column", [{"street": "Main\0Street"}, {"is_primary": 9e999}])
def test_what_json_cannot_hold_does_not_stop_the_correction(popup, column):
    guid, address = make_customer(popup, "Ann"), uuid4()
    columns = {"async_account": guid, "address_id": address}
    make_event("address", popup, **columns, **column)
    run("pipeline")
    make_event("address", popup, **columns)

    found = run("pipeline")

    assert found["outcome"] == "succeeded"
    assert Quarantine.objects.get().status == "superseded"
    assert CustomerAddress.objects.get().street == "Main Street"


def test_a_guid_is_never_read_as_another_one(popup):
    guid = uuid4()
    make_customer(popup, "Ann", guid=guid)
    make_customer(popup, "Bo", guid=f"{{{guid}}}")

    run("pipeline")

    assert Customer.objects.get(account_number="005001").first_name == "Ann"
    assert AsyncCustomer.objects.count() == 1


def test_of_two_events_with_one_id_the_first_stays_and_the_other_is_set_aside(store, seattle):
    event = uuid4()
    make_customer(store, "Ann", event_id=event)
    run("P-0001", channels=[store.channel.code])
    make_customer(seattle, "Bo", event_id=event)

    run("pipeline")

    assert AsyncCustomer.objects.get().first_name == "Ann"
    kept = Quarantine.objects.get()
    assert (kept.reason, kept.field, kept.event_id) == ("event_conflict", "event_id", event)
    assert json.loads(bytes(kept.raw))["first_name"] == "Bo"
    assert unacknowledged(seattle) == 0


def test_a_guid_that_another_channel_made_and_never_shared_is_set_aside(store, seattle):
    guid = make_customer(store, "Ann")
    run("P-0001")
    make_customer(seattle, "Stranger", guid=guid)

    run("pipeline")

    assert (Quarantine.objects.get().reason, Quarantine.objects.get().database) == (
        "guid_conflict",
        seattle,
    )
    assert Customer.objects.get(account_number="005001").first_name == "Ann"


def test_a_guid_that_was_shared_with_a_channel_may_come_from_there(store, seattle):
    guid = make_customer(store, "Ann")
    run("pipeline")
    make_customer(seattle, "Anna", guid=guid, operation="update")

    run("pipeline")

    assert not Quarantine.objects.exists()
    assert Customer.objects.get(account_number="005001").first_name == "Anna"


def test_consent_that_nobody_gave_means_no(store, seattle):
    guid = make_customer(store, "Ann")
    make_event("contact", store, async_account=guid, marketing_opt_in=None)

    run("pipeline")

    assert CustomerContact.objects.get().marketing_opt_in is False
    for channel in (store, seattle):
        [(consent,)] = query(channel, "SELECT marketing_opt_in FROM customer_contact")
        assert consent in (False, 0)


def test_every_letter_survives_to_hq_and_back_to_every_channel(houston, popup):
    for channel in (houston, popup):
        for first, last in ODD_NAMES:
            make_customer(channel, first, last_name=last)
    names = sorted([*ODD_NAMES, *ODD_NAMES])

    run("pipeline")

    issued = Customer.objects.exclude(number=None)
    assert sorted(issued.values_list("first_name", "last_name")) == names
    for channel in (houston, popup):
        assert sorted(query(channel, "SELECT first_name, last_name FROM customer")) == names


def test_texts_of_exactly_the_limit_are_taken_whole(store):
    name = IDEOGRAPH * 60
    make_customer(store, name, last_name=name, name=IDEOGRAPH * 300)

    run("pipeline")

    customer = Customer.objects.get(account_number="005001")
    assert (customer.first_name, customer.name) == (name, IDEOGRAPH * 300)


def test_the_session_accounts_for_every_row(store):
    make_customer(store, "Ann")
    make_customer(store, email="nobody")
    run("P-0001")
    query(store, "UPDATE async_customer SET acknowledged_at = NULL")
    make_customer(store, "Bo")

    run("P-0001")

    first, second = UploadSession.objects.order_by("started_at")
    assert (first.read, first.staged, first.unchanged, first.quarantined) == (2, 1, 0, 1)
    assert (second.read, second.staged, second.unchanged, second.quarantined) == (3, 1, 2, 0)
    assert {first.status, second.status} == {"applied"}
