"""Events that no till should write: upload quarantines each one as it came and says why.

From conftest.py: `store` is a store, once on PostgreSQL and once on SQLite; `other_company` is a
company with the account E-0001.
"""

from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pytest

from stores.messages.reasons import explain
from stores.models import AttributeDefinition, ChannelDatabase, Customer, Quarantine
from stores.models.job import JobCode
from stores.pipeline.events.kinds import EVENT_KINDS
from stores.traffic.faults import RawText
from tests.support.make import engine_of, make_event, make_many, query, run, unacknowledged
from tests.support.promises import broken_promises
from tests.support.raw_rows import channel_rows, quarantined_row

pytestmark = [pytest.mark.slow, pytest.mark.fault("F-58", "F-59")]

KINDS = {kind.event: kind for kind in EVENT_KINDS}
TRUNCATED_UTF8 = RawText("Mü".encode()[:2])
SURROGATE = RawText(b"\xed\xa0\x80")


@dataclass(frozen=True)
class BadValue:
    """A value of an event, beside others, and the reason for which HQ quarantines the event."""

    kind: str
    column: str
    value: Any
    reason: str
    others: dict[str, Any] = field(default_factory=dict)


def too_long(kind: str, **max_lengths: int) -> list[BadValue]:
    """For each column a value that is one character too long."""
    return [
        BadValue(kind, column, "1" * (max_length + 1), "too_long")
        for column, max_length in max_lengths.items()
    ]


ON_EVERY_ENGINE = [
    BadValue("customer", "async_account", None, "key_missing"),
    BadValue("customer", "async_account", None, "guid_missing", {"account_number": "005001"}),
    BadValue("customer", "occurred_at", "1815-06-18T11:35:00+00:00", "time_range"),
    BadValue("customer", "occurred_at", "9999-12-31T23:59:59+00:00", "time_range"),
    BadValue("customer", "account_number", "E-0001", "company_mismatch"),
    BadValue("customer", "account_number", "ZZ-000001", "company_mismatch"),
    BadValue("address", "account_number", "E-0001", "company_mismatch"),
    BadValue("customer", "operation", "upsert", "unknown_word"),
    BadValue("customer", "operation", None, "unknown_word"),
    BadValue("customer", "customer_type", "robot", "unknown_word"),
    BadValue("customer", "last_name", " ", "name_missing", {"first_name": None}),
    BadValue("customer", "name", "", "name_missing", {"customer_type": "organization"}),
    BadValue("customer", "email", "ann.example.com", "email_format"),
    BadValue("customer", "email", "ann@example.com\nBcc: all@example.com", "email_format"),
    *too_long("customer", first_name=60, middle_name=60, last_name=60, name=300, title=20),
    *too_long("customer", language=7, currency=3, customer_group=20, email=255, phone=60),
    *too_long("customer", receipt_email=255, vat_number=30, staff_id=25, terminal_id=10),
    *too_long("customer", account_number=20),
    BadValue("address", "purpose", "holiday", "unknown_word"),
    BadValue("address", "country", "WQZ", "country_unknown"),
    BadValue("address", "country", "usa", "country_unknown"),
    *too_long("address", description=60, street=250, street_number=20, building=60, city=60),
    *too_long("address", county=10, state=10, postal_code=10, country=3),
    BadValue("contact", "kind", "fax", "unknown_word"),
    BadValue("contact", "kind", None, "unknown_word"),
    BadValue("contact", "locator", None, "value_missing"),
    BadValue("contact", "locator", "nobody", "email_format"),
    BadValue("contact", "locator", "nobody", "phone_format", {"kind": "phone"}),
    BadValue("contact", "locator", "x" * 256, "too_long", {"kind": "url"}),
    *too_long("contact", description=60),
    BadValue("affiliation", "affiliation", " ", "value_missing"),
    BadValue("affiliation", "affiliation", None, "value_missing"),
    *too_long("affiliation", affiliation=20),
    BadValue("attribute", "attribute", None, "value_missing"),
    *too_long("attribute", attribute=60),
    BadValue("attribute", "value", "young", "attribute_invalid", {"attribute": "AGE"}),
    BadValue("attribute", "value", "131", "attribute_invalid", {"attribute": "AGE"}),
    BadValue("attribute", "value", "XXL", "attribute_invalid", {"attribute": "HAT"}),
    BadValue("attribute", "value", "perhaps", "attribute_invalid", {"attribute": "VIP"}),
]
# The column types of PostgreSQL refuse the values of the first list themselves.
ON_ONE_ENGINE = {
    "sqlite": [
        BadValue("customer", "event_id", "", "key_missing"),
        BadValue("customer", "event_id", "till-9-1", "key_missing"),
        BadValue("customer", "event_id", b"\x00" * 16, "key_missing"),
        BadValue("customer", "async_account", "", "guid_format"),
        BadValue("customer", "async_account", f"{{{uuid4()}}}", "guid_format"),
        BadValue("customer", "async_account", uuid4().urn, "guid_format"),
        BadValue("customer", "async_account", uuid4().hex, "guid_format"),
        BadValue("customer", "async_account", str(uuid4()).upper(), "guid_format"),
        BadValue("customer", "async_account", f"{uuid4()}\n", "guid_format"),
        BadValue("customer", "last_name", TRUNCATED_UTF8, "encoding"),
        BadValue("customer", "last_name", SURROGATE, "encoding"),
        BadValue("customer", "last_name", "L\0e", "encoding"),
        BadValue("customer", "occurred_at", "yesterday", "time_format"),
        BadValue("customer", "occurred_at", "2026-02-30T10:00:00+00:00", "time_format"),
        BadValue("customer", "occurred_at", "2026-03-01T10:00:00", "time_format"),
        BadValue("customer", "first_name", b"\x00\x01Ann", "type"),
        BadValue("address", "address_id", "front door", "guid_format"),
        BadValue("address", "is_primary", "maybe", "type"),
        BadValue("address", "is_primary", 9e999, "type"),
        BadValue("address", "street", "Main\0Street", "encoding"),
    ],
    "postgresql": [
        BadValue("customer", "occurred_at", "infinity", "time_range"),
        BadValue("customer", "occurred_at", "-infinity", "time_range"),
    ],
}


@pytest.fixture
def attribute_definitions(store) -> None:
    """Attributes that take certain values only."""
    company = store.channel.company
    AttributeDefinition.objects.create(
        company=company, name="AGE", data_type="integer", smallest=0, largest=130
    )
    AttributeDefinition.objects.create(company=company, name="HAT", options=["S", "M", "L"])
    AttributeDefinition.objects.create(company=company, name="VIP", data_type="boolean")


RowKey = tuple[str, str]


def write_bad_event(database: ChannelDatabase, bad: BadValue) -> RowKey:
    """Write an event with the bad value. Returns its table and its counter."""
    values = {"async_account": uuid4()} | bad.others | {bad.column: bad.value}
    make_event(bad.kind, database, **values)
    table = f"async_{bad.kind}"
    [(counter,)] = query(database, f"SELECT max(replication_counter) FROM {table}")  # noqa: S608
    return table, str(counter)


def write_bad_events(database: ChannelDatabase) -> dict[RowKey, BadValue]:
    """Write one event with each value that the engine lets in. Returns them by row."""
    bad_values = ON_EVERY_ENGINE + ON_ONE_ENGINE[engine_of(database)]
    return {write_bad_event(database, bad): bad for bad in bad_values}


@pytest.fixture
def bad_events(store, other_company, attribute_definitions) -> dict[RowKey, BadValue]:
    """Uploaded events with one bad value each, by row."""
    written = write_bad_events(store)
    run(JobCode.UPLOAD)
    return written


def quarantined_events() -> dict[RowKey, Quarantine]:
    return {(case.table, case.row_key): case for case in Quarantine.objects.all()}


def test_each_bad_event_is_quarantined_with_reason_and_field(bad_events):
    cases = {key: (case.reason, case.field) for key, case in quarantined_events().items()}

    assert cases == {key: (bad.reason, bad.column) for key, bad in bad_events.items()}


def test_each_reason_is_explained_in_a_sentence_about_the_field(bad_events):
    sentences = [explain(case.reason, case.field) for case in quarantined_events().values()]

    fields = [sentence.partition(": ")[0] for sentence in sentences]
    assert sorted(fields) == sorted(bad.column for bad in bad_events.values())


def test_each_bad_event_is_kept_as_its_till_wrote_it(store, bad_events, subtests):
    cases = quarantined_events()

    for key, bad in bad_events.items():
        with subtests.test(f"{bad.kind}.{bad.column}: {bad.reason}", key=key):
            table, counter = key
            kept = quarantined_row(cases[key])
            [written] = channel_rows(
                store, table, KINDS[table].sent_columns, "replication_counter", int(counter)
            )
            for column in compared_columns(bad):
                assert kept[column] == written[column], column


def compared_columns(bad: BadValue) -> set[str]:
    """Every text, and the bad value; numbers and times may be kept in another notation."""
    kind = KINDS[f"async_{bad.kind}"]
    columns = {column for column in kind.sent_columns if kind.type_of(column) == "text"}
    if bad.reason.endswith("_format"):
        columns.add(bad.column)
    return columns


def test_good_customers_between_bad_events_are_converted(
    store, other_company, attribute_definitions
):
    make_many(store, 500, last_name="Good")
    bad_events = write_bad_events(store)
    make_many(store, 500, last_name="Good")

    run(JobCode.PIPELINE)

    assert Customer.objects.filter(last_name="Good", number__isnull=False).count() == 1_000
    assert quarantined_events().keys() == bad_events.keys()
    assert unacknowledged(store) == 0
    assert broken_promises() == []
