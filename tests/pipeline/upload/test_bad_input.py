"""Bad input, groups A and B of the list: each row of the table on every engine that lets it in.

It comes in the middle of a batch of a thousand good customers, all of whom go through; the bad row
is set aside as it came, or does what the list says, and is acknowledged; the promises hold.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import User
from django.db import connections
from django.test import Client
from django.utils import timezone
from django.utils.html import escape

from stores.channeldb.connect.connection import connect
from stores.models import (
    AsyncCustomer,
    AttributeDefinition,
    ChannelDatabase,
    Customer,
    CustomerAddress,
    CustomerAffiliation,
    CustomerAttribute,
    CustomerContact,
    GuidMap,
    Quarantine,
)
from stores.models.reason import explain
from stores.pipeline.events.kinds import CHILDREN, KINDS
from stores.pipeline.events.rules import STAGED
from stores.pipeline.integrity.verify import verify
from stores.traffic.faults import FAMILY, FLAG, IDEOGRAPH, RawText, insert_exactly
from tests.support.make import (
    OWN,
    as_sqlite,
    engine_of,
    make_customer,
    make_event,
    make_many,
    query,
    run,
    unacknowledged,
)
from tests.support.raw_rows import as_kept, rows_found

pytestmark = pytest.mark.slow

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


TABLE = {
    "A1": [
        Bad("key_missing", "async_account", {"async_account": None}),
        Bad("guid_missing", "async_account", {"async_account": None, "account_number": "005001"}),
        Bad("key_missing", "event_id", {"event_id": ""}, engine=SQLITE),
        Bad("key_missing", "event_id", {"event_id": "till-9-1"}, engine=SQLITE),
        Bad("key_missing", "event_id", {"event_id": b"\x00" * 16}, engine=SQLITE),
    ],
    "A2": [
        Bad("guid_format", "async_account", {"async_account": ""}, engine=SQLITE),
        Bad("guid_format", "async_account", {"async_account": f"{{{uuid4()}}}"}, engine=SQLITE),
        Bad("guid_format", "async_account", {"async_account": uuid4().urn}, engine=SQLITE),
        Bad("guid_format", "async_account", {"async_account": uuid4().hex}, engine=SQLITE),
        Bad("guid_format", "async_account", {"async_account": str(uuid4()).upper()}, engine=SQLITE),
        Bad("guid_format", "async_account", {"async_account": f"{uuid4()}\n"}, engine=SQLITE),
    ],
    "A5": [
        Bad("encoding", "last_name", {"last_name": RawText("Müller".encode()[:2])}, engine=SQLITE),
        Bad("encoding", "last_name", {"last_name": RawText(b"\xed\xa0\x80")}, engine=SQLITE),
        Bad("encoding", "last_name", {"last_name": "L\0e"}, engine=SQLITE),
    ],
    "A8": [
        Bad("time_format", "occurred_at", {"occurred_at": "yesterday"}, engine=SQLITE),
        Bad(
            "time_format",
            "occurred_at",
            {"occurred_at": "2026-02-30T10:00:00+00:00"},
            engine=SQLITE,
        ),
        Bad("time_format", "occurred_at", {"occurred_at": "2026-03-01T10:00:00"}, engine=SQLITE),
        Bad("time_range", "occurred_at", {"occurred_at": "1815-06-18T11:35:00+00:00"}),
        Bad("time_range", "occurred_at", {"occurred_at": "9999-12-31T23:59:59+00:00"}),
        Bad("time_range", "occurred_at", {"occurred_at": "infinity"}, engine=POSTGRESQL),
        Bad("time_range", "occurred_at", {"occurred_at": "-infinity"}, engine=POSTGRESQL),
    ],
    "A9": [
        Bad("company_mismatch", "account_number", {"account_number": "E-0001"}),
        Bad("company_mismatch", "account_number", {"account_number": "ZZ-000001"}),
        Bad("company_mismatch", "account_number", {"account_number": "E-0001"}, "address"),
    ],
    "A11": [
        Bad("type", "first_name", {"first_name": b"\x00\x01Ann"}, engine=SQLITE),
    ],
    "words, names and forms": [
        Bad("unknown_word", "operation", {"operation": "upsert"}),
        Bad("unknown_word", "operation", {"operation": None}),
        Bad("unknown_word", "customer_type", {"customer_type": "robot"}),
        Bad("name_missing", "last_name", {"last_name": " ", "first_name": None}),
        Bad("name_missing", "name", {"customer_type": "organization", "name": ""}),
        Bad("email_format", "email", {"email": "ann.example.com"}),
        Bad("email_format", "email", {"email": "ann@example.com\nBcc: all@example.com"}),
    ],
    "lengths of a customer": [
        *too_long("customer", first_name=60, middle_name=60, last_name=60, name=300, title=20),
        *too_long("customer", language=7, currency=3, customer_group=20, email=255, phone=60),
        *too_long("customer", receipt_email=255, vat_number=30, staff_id=25, terminal_id=10),
        *too_long("customer", account_number=20),
    ],
    "what belongs to a customer": [
        Bad("guid_format", "address_id", {"address_id": "front door"}, "address", SQLITE),
        Bad("type", "is_primary", {"is_primary": "maybe"}, "address", SQLITE),
        Bad("type", "is_primary", {"is_primary": 9e999}, "address", SQLITE),
        Bad("encoding", "street", {"street": "Main\0Street"}, "address", SQLITE),
        Bad("unknown_word", "purpose", {"purpose": "holiday"}, "address"),
        Bad("country_unknown", "country", {"country": "WQZ"}, "address"),
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
    ],
}
MARKUP = ("<script>alert(1)</script>", "\"'><img src=x onerror=alert(1)>{{ 7*7 }}")
ODD_NAMES = [
    (FAMILY, f"{FLAG}{IDEOGRAPH}"),
    ("小明", "王"),
    ("ليلى", "כהן"),
    MARKUP,
    ("Robert'); DROP TABLE customer;--", "tab\tnew\nline\\N"),
]


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


def is_let_in(database: ChannelDatabase, bad: Bad) -> bool:
    """Whether the channel's engine does not refuse the row by itself."""
    return bad.engine in ("", engine_of(database))


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


@contextmanager
def among_a_thousand(database: ChannelDatabase) -> Iterator[None]:
    """What is written inside comes between good customers; all of them go through."""
    make_many(database, 500, last_name="Good")
    yield
    make_many(database, 500, last_name="Good")

    run("pipeline")

    assert Customer.objects.filter(last_name="Good", number__isnull=False).count() == 1_000
    assert unacknowledged(database) == 0
    assert [(check.id, check.offending) for check in verify() if not check.ok] == []


def as_found(database: ChannelDatabase, table: str, counter: str) -> dict[str, Any]:
    """A row of the channel: bytes for texts, numbers as numbers."""
    columns = next(kind.sent for kind in KINDS if kind.event == table)
    [row] = rows_found(database, table, columns, "replication_counter", int(counter))
    return row


def texts_of(table: str) -> set[str]:
    """The columns that hold texts; a number or a time may be kept in another spelling."""
    kind = next(kind for kind in KINDS if kind.event == table)
    return {column for column in kind.sent if kind.type_of(column) == "text"}


@pytest.mark.fault("F-58", "F-59")
def test_what_cannot_be_used_is_set_aside_as_it_came_and_says_why(
    store, other_company, definitions, subtests
):
    table = {what: [bad for bad in rows if is_let_in(store, bad)] for what, rows in TABLE.items()}

    with among_a_thousand(store):
        written = {
            what: [write_exactly(store, bad) for bad in rows] for what, rows in table.items()
        }

    kept = {(row.table, row.row_key): row for row in Quarantine.objects.all()}
    assert sorted(kept) == sorted(key for keys in written.values() for key in keys)
    for what, rows in table.items():
        with subtests.test(what):
            for key, bad in zip(written[what], rows, strict=True):
                row = kept[key]
                assert (row.reason, row.field) == (bad.reason, bad.field)
                assert explain(row.reason, row.field).startswith(f"{bad.field}: ")
                as_it_came = as_found(store, *key)
                as_it_is_kept = {c: as_kept(v) for c, v in json.loads(bytes(row.raw)).items()}
                unread = {row.field} if row.reason.endswith("_format") else set()
                for column in unread | texts_of(row.table):
                    assert as_it_is_kept[column] == as_it_came[column], (key, column)


def test_a1_without_an_event_id_the_place_of_the_row_is_its_key(popup):
    with among_a_thousand(popup):
        place = write_exactly(popup, Bad("", "", {"event_id": "till-9-1"}))

    kept = Quarantine.objects.get()
    assert (kept.table, kept.row_key, kept.event_id) == (*place, None)


def test_a2_a_guid_is_never_read_as_another_one(popup):
    guid = uuid4()

    with among_a_thousand(popup):
        make_customer(popup, "Ann", guid=guid)
        make_customer(popup, "Bo", guid=f"{{{guid}}}")

    assert GuidMap.objects.get(pk=guid).customer.first_name == "Ann"
    assert not AsyncCustomer.objects.filter(first_name="Bo").exists()


def test_a3_of_two_events_with_one_id_the_first_stays(store, seattle):
    event = uuid4()
    make_customer(store, "Held", event_id=event)
    run("P-0001", channels=[store.channel.code])

    with among_a_thousand(seattle):
        make_customer(seattle, "Other", event_id=event)

    assert AsyncCustomer.objects.get(event_id=event).first_name == "Held"
    kept = Quarantine.objects.get()
    assert (kept.reason, kept.field, kept.event_id) == ("event_conflict", "event_id", event)
    assert json.loads(bytes(kept.raw))["first_name"] == "Other"


def test_a4_a_guid_that_another_channel_made_and_never_shared(store, seattle):
    guid = make_customer(store, "Ann")
    run("P-0001")

    with among_a_thousand(seattle):
        make_customer(seattle, "Stranger", guid=guid)

    kept = Quarantine.objects.get()
    assert (kept.reason, kept.field, kept.database) == ("guid_conflict", "async_account", seattle)
    assert GuidMap.objects.get(pk=guid).customer.first_name == "Ann"


def test_a6_every_letter_arrives_at_hq_and_comes_back_to_every_channel(store, seattle):
    with among_a_thousand(store):
        for first, last in ODD_NAMES:
            make_customer(store, first, last_name=last)

    issued = Customer.objects.exclude(number=None).exclude(last_name="Good")
    assert sorted(issued.values_list("first_name", "last_name")) == sorted(ODD_NAMES)
    for channel in (store, seattle):
        names = "SELECT first_name, last_name FROM customer WHERE last_name <> 'Good'"
        assert sorted(query(channel, names)) == sorted(ODD_NAMES)


def test_a7_markup_in_a_name_is_shown_and_does_nothing(store):
    first, last = MARKUP
    boss = Client()
    boss.force_login(User.objects.create_superuser("boss"))

    with among_a_thousand(store):
        guid = make_customer(store, first, last_name=last)
        make_customer(store, first, last_name=last, email="nobody")

    account = GuidMap.objects.get(pk=guid).customer.account_number
    aside = f"/quarantine/{Quarantine.objects.get().pk}/"
    shown = [
        boss.get(path) for path in (f"/customers/{account}/", f"/customers/?q={account}", aside)
    ]
    others = [boss.get(path) for path in ("/", f"/trace/{guid}/", "/async-customers/", "/runs/")]
    for answer in shown:
        assert escape(first) in answer.content.decode()
        assert escape(last) in answer.content.decode()
    for answer in (*shown, *others):
        assert first not in answer.content.decode()
        assert last not in answer.content.decode()


def test_a10_consent_that_nobody_gave_means_no(store, seattle):
    with among_a_thousand(store):
        guid = make_customer(store, "Ann")
        make_event("contact", store, async_account=guid, marketing_opt_in=None)

    assert CustomerContact.objects.get().marketing_opt_in is False
    for channel in (store, seattle):
        [(consent,)] = query(channel, "SELECT marketing_opt_in FROM customer_contact")
        assert consent in (False, 0)


def test_b1_what_arrives_before_its_customer_waits_for_it(store):
    guid = uuid4()

    with among_a_thousand(store):
        for kind in CHILDREN:
            make_event(kind.name, store, async_account=guid)

    for kind in CHILDREN:
        waiting = STAGED[kind.name].objects.get()
        assert (waiting.status, waiting.reason) == ("pending", "parent_missing")
    make_customer(store, "Ann", guid=guid)
    run("pipeline")
    for model in (CustomerAddress, CustomerContact, CustomerAffiliation, CustomerAttribute):
        assert model.objects.get().customer == GuidMap.objects.get(pk=guid).customer


def test_b2_of_two_primary_addresses_the_later_event_wins(store):
    with among_a_thousand(store):
        ann, bo = make_customer(store, "Ann"), make_customer(store, "Bo")
        make_event("address", store, async_account=ann, is_primary=True, city="Old")
        for city in ("Old", "New"):
            make_event("address", store, async_account=bo, is_primary=True, city=city)
        run("pipeline")
        make_event("address", store, async_account=ann, is_primary=True, city="New")

    assert CustomerAddress.objects.count() == 4
    primaries = CustomerAddress.objects.filter(is_primary=True)
    assert {(row.customer.first_name, row.city) for row in primaries} == {
        ("Ann", "New"),
        ("Bo", "New"),
    }
    shown = query(store, "SELECT city FROM customer_address WHERE is_primary")
    assert shown == [("New",), ("New",)]


def test_b3_what_is_edited_under_the_guid_after_conversion_lands_on_the_account(store):
    guid, address = make_customer(store, "Ann"), uuid4()
    make_event("address", store, async_account=guid, address_id=address, city="Old")
    run("pipeline")
    edit = {"operation": "update", "async_account": guid}

    with among_a_thousand(store):
        make_event("customer", store, **edit, first_name="Anna")
        make_event("address", store, **edit, address_id=address, city="New")

    customer = Customer.objects.get(account_number="005001")
    assert (customer.first_name, customer.addresses.get().city) == ("Anna", "New")
    assert Customer.objects.exclude(number=None).count() == 1_001
