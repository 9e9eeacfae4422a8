"""The only place that creates accounts: new customers get an account number of their company.

A till identifies a customer that it creates by a GUID. Here the GUIDs of a chunk of events that HQ
does not know yet are claimed, and become customers of HQ. Conversion, sales orders, end of day and
the real-time service all create accounts through this module. Only one transaction at a time
converts events of a company, so nobody waits for its number sequence, except for somebody who
registers a channel at the same moment.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from django.db import transaction
from psycopg2 import sql

from stores.hqdb.files import load
from stores.hqdb.sql import fetch_one, identifiers, listed, reserve_numbers, run_sql
from stores.hqdb.work_table import WorkTable, empty_table, query_table
from stores.messages.message import Message
from stores.models import Company, Customer, Incident, NumberSequence
from stores.models.run import StepFailed
from stores.pipeline.changes import reserve_changes
from stores.pipeline.convert.chunk import Chunk
from stores.pipeline.convert.merge import claim_of_new, newest_events
from stores.pipeline.convert.open_events import fail_exhausted
from stores.pipeline.events.kinds import CUSTOMER, INHERITED_COLUMNS

CLAIM_GUIDS = load(__file__, "claim_guids")
CREATE_CUSTOMERS = load(__file__, "create_customers")
NEW_CUSTOMER_COLUMNS = "async_account uuid, customer_id bigint, channel_id bigint"


@contextmanager
def new_customers(chunk: Chunk) -> Iterator["NewCustomers"]:
    """Give each GUID of the chunk that needs an account its number, in the order of the GUIDs.

    If the numbers run out, the events of the other GUIDs fail. Effects: customers with their change
    numbers, inherited affiliations, the map of GUIDs, the number sequence; in the caller's
    transaction. Source: reliability 3.5, ADR 0006.
    """
    guids = CLAIM_GUIDS.format(events=chunk.events(CUSTOMER))
    with query_table("claimed_guid", guids, chunk.values) as claimed:
        failed = drop_exhausted(chunk, claimed) if claimed.rows else 0
        count = claimed.rows - failed
        events = insert_customers(chunk, claimed, count) if count else 0
        yield NewCustomers(claimed, count, failed, has_several_events=events > count)


@dataclass(frozen=True)
class NewCustomers:
    """The customers that a chunk has created."""

    # Shape: async_account, customer_id, hq_version, databases.
    claimed: WorkTable
    count: int
    # The number of GUIDs for which no number was left. They are not in `claimed`.
    failed: int
    # If a customer has several events in the chunk, they have to be replayed in their order.
    has_several_events: bool


def require_issuing_allowed() -> None:
    """Refuse new accounts while HQ may have forgotten numbers that it issued. Raises StepFailed.

    Whoever converts new customers calls it first. Imported accounts take no number.
    """
    if incident := Incident.objects.blocking_conversion().order_by("pk").first():
        raise StepFailed(
            Message("issuing_blocked", incident=str(incident.pk), why=incident.message)
        )


def drop_exhausted(chunk: Chunk, claimed: WorkTable) -> int:
    """Fail the events of GUIDs for which no number is left. Returns how many GUIDs these are.

    Effects: open events; the GUIDs are deleted from `claimed`. The sequence is read without a lock.
    If another transaction takes the last numbers meanwhile, the constraint of the sequence refuses
    this one, and the chunk is tried again.
    """
    sequence = NumberSequence.objects.filter(company=chunk.company).first()
    remaining = sequence.remaining if sequence else 0
    if remaining >= claimed.rows:
        return 0
    reason = "sequence_exhausted" if sequence else "sequence_missing"
    fail_exhausted(chunk, CUSTOMER, claimed, remaining, reason)
    # These are the GUIDs that fail_exhausted.sql has failed: it has the same ORDER BY.
    return run_sql(
        """DELETE FROM {claimed} WHERE async_account IN
               (SELECT async_account FROM {claimed} ORDER BY async_account OFFSET %s)""",
        [remaining],
        claimed=claimed,
    )


def insert_customers(chunk: Chunk, claimed: WorkTable, count: int) -> int:
    """Insert customers with what belongs to them. Returns the number of their events."""
    company = chunk.company
    values = chunk.values | {
        "first": reserve_numbers("number_sequence", "next", company.pk, count),
        "first_change": reserve_changes(company.pk, count),
    }
    claimed.analyze()
    with empty_table("new_customer", NEW_CUSTOMER_COLUMNS) as created:
        events, _ = fetch_one(create_statement(chunk, claimed, created), values)
        run_sql(
            """INSERT INTO customer_affiliation (customer_id, affiliation, hq_version)
               SELECT created.customer_id, inherited.affiliation, 1
                 FROM {created} created JOIN channel ON channel.id = created.channel_id
                 JOIN customer_affiliation inherited
                   ON inherited.customer_id = channel.default_customer_id AND inherited.is_active
                   ON CONFLICT DO NOTHING""",
            created=created,
        )
        run_sql(
            """INSERT INTO guid_map (async_account, company_id, customer_id, channel_id, run_id)
               SELECT async_account, %(company)s, customer_id, channel_id, %(run)s
                 FROM {created}""",
            values,
            created=created,
        )
    return int(events)


def create_statement(chunk: Chunk, claimed: WorkTable, created: WorkTable) -> sql.Composed:
    return CREATE_CUSTOMERS.format(
        newest_events=newest_events(claim_of_new(chunk, CUSTOMER, claimed)),
        new_customers=created,
        inherited=identifiers(INHERITED_COLUMNS, of="default_customer"),
        columns=identifiers(CUSTOMER.columns),
        values=listed(map(column_or_default, CUSTOMER.columns)),
    )


def column_or_default(column: str) -> sql.Composable:
    """Return the value of a column in create_customers.sql.

    `new` is the customer's newest event, `home` has the values of the default customer.
    """
    value = "new.{0}"
    if column == "customer_type":
        value = "coalesce(nullif(new.{0}, ''), home.{0}, 'person')"
    elif column in INHERITED_COLUMNS:
        value = "coalesce(nullif(new.{0}, ''), home.{0})"
    return sql.SQL(value).format(sql.Identifier(column))


def import_account(
    company: Company, account_number: str, *, deliver: bool = True, **columns: object
) -> Customer:
    """Create a customer whose account the sequence did not issue, such as a default customer.

    Unless it is to `deliver`, channels are not sent the customer. Effects: the customer, in a
    transaction. Raises IntegrityError for an account that the sequence could issue.
    """
    with transaction.atomic():
        change_no = reserve_changes(company.pk, 1) if deliver else None
        return Customer.objects.create(
            company=company, account_number=account_number, change_no=change_no, **columns
        )
