"""The only place that creates accounts: staged customers become HQ customers with a number.

Convert, Synchronize orders, end of day and the real-time service all come here and nowhere else.
Of one company one conversion runs at a time, so nobody else waits for its number sequence; only who
registers a channel does, for one chunk.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from django.db import transaction
from psycopg2 import sql

from stores.hqdb.files import load
from stores.hqdb.sql import fetch_one, identifiers, listed, reserve_numbers, run_sql
from stores.hqdb.work_table import WorkTable, empty_table, query_table
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


@dataclass(frozen=True)
class NewCustomers:
    """The customers that a chunk has created."""

    # Shape: async_account, customer_id, hq_version, databases.
    claimed: WorkTable
    count: int
    # Customers for whom no number was left; they are not among the claimed ones.
    failed: int
    # Whether one of them has several events: it is replayed then, so that their order counts.
    has_several_events: bool


def require_issuing_allowed() -> None:
    """Refuse while HQ may have forgotten numbers that it issued. Errors: StepFailed.

    Whoever converts new customers calls it first. What is imported takes no number.
    """
    if incident := Incident.objects.blocking_conversion().order_by("pk").first():
        raise StepFailed(
            f"No account number is issued until incident {incident.pk} is closed: "
            f"{incident.message}"
        )


@contextmanager
def new_customers(chunk: Chunk) -> Iterator[NewCustomers]:
    """Give each GUID of the chunk that needs one its account, in the order of the GUIDs.

    Effects: customers with their change numbers, GUID map, number sequence; in the caller's
    transaction. The events of customers for whom no number is left fail, and none is drawn for
    them. Source: reliability 3.5, ADR 0006.
    """
    with query_table("claimed_guid", claim_statement(chunk), chunk.values) as claimed:
        failed = drop_exhausted(chunk, claimed) if claimed.rows else 0
        count = claimed.rows - failed
        events = insert_customers(chunk, claimed, count) if count else 0
        yield NewCustomers(claimed, count, failed, has_several_events=events > count)


def claim_statement(chunk: Chunk) -> sql.Composed:
    return CLAIM_GUIDS.format(events=chunk.events(CUSTOMER))


def drop_exhausted(chunk: Chunk, claimed: WorkTable) -> int:
    """Fail the customers for whom no number is left, and drop them. Returns how many.

    The sequence is read without a lock: should another job take the last numbers meanwhile, its
    constraint refuses ours and the chunk is done again.
    """
    sequence = NumberSequence.objects.filter(company=chunk.company).first()
    remaining = sequence.left if sequence else 0
    if remaining >= claimed.rows:
        return 0
    reason = "sequence_exhausted" if sequence else "sequence_missing"
    fail_exhausted(chunk, CUSTOMER, claimed, remaining, reason)
    # The same order as in fail_exhausted.sql.
    return run_sql(
        """DELETE FROM {claimed} WHERE async_account IN
               (SELECT async_account FROM {claimed} ORDER BY async_account OFFSET %s)""",
        [remaining],
        claimed=claimed,
    )


def insert_customers(chunk: Chunk, claimed: WorkTable, count: int) -> int:
    """Customers, their inherited affiliations and the GUID map. Returns how many events."""
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
    """A column of `new` in create_customers.sql, or what the default customer in `home` gives."""
    if column == "customer_type":
        text = "coalesce(nullif(new.{0}, ''), home.{0}, 'person')"
    elif column in INHERITED_COLUMNS:
        text = "coalesce(nullif(new.{0}, ''), home.{0})"
    else:
        text = "new.{0}"
    return sql.SQL(text).format(sql.Identifier(column))


def import_account(
    company: Company, account_number: str, *, deliver: bool = True, **columns: object
) -> Customer:
    """Make a customer whose account the sequence did not issue, such as a default customer.

    Effects: the customer, with a change number if channels are to have it, in one transaction.
    Errors: IntegrityError for an account that the sequence would issue.
    """
    with transaction.atomic():
        change_no = reserve_changes(company.pk, 1) if deliver else None
        return Customer.objects.create(
            company=company, account_number=account_number, change_no=change_no, **columns
        )
