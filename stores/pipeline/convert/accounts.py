"""The only place that creates accounts: staged customers become HQ customers with a number.

Convert, Synchronize orders, end of day and the real-time service all come here and nowhere else.
Of one company one conversion runs at a time, so nobody else waits for its number sequence; only who
registers a channel does, for one chunk.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from uuid import UUID

from django.db import transaction
from psycopg2 import sql

from stores.hqdb.files import load
from stores.hqdb.retry import bisect_rows
from stores.hqdb.sql import (
    fetch,
    fetch_one,
    identifiers,
    listed,
    lock_until_commit,
    prefer_index_scans,
    prefer_ordered_scan,
    reserve_numbers,
    run_sql,
)
from stores.hqdb.work_table import WorkTable, empty_table, query_table
from stores.models import Company, Customer, Incident, NumberSequence, RunStep
from stores.models.run import StepFailed
from stores.pipeline.changes import reserve_changes
from stores.pipeline.chunk_sizes import CUSTOMERS_PER_CHUNK
from stores.pipeline.convert.merge import by_guid, merge_children_of_new, newest_events
from stores.pipeline.convert.replay import replay_events
from stores.pipeline.events.kinds import CHILDREN, CUSTOMER, INHERITED_COLUMNS, EventKind
from stores.pipeline.refused_rows import fail_events

PENDING_GUIDS = load(__file__, "_pending_guids")
CLAIM_GUIDS = load(__file__, "claim_guids")
CREATE_CUSTOMERS = load(__file__, "create_customers")
NEW_CUSTOMER_COLUMNS = "async_account uuid, customer_id bigint, channel_id bigint"


@dataclass(frozen=True)
class CreatedAccounts:
    """What one chunk did; `last` is the greatest GUID it looked at, None when there was none.

    `refused` are those who could not even be failed, with what the database said.
    """

    converted: int = 0
    failed: int = 0
    last: UUID | None = None
    refused: Mapping[UUID, str] = field(default_factory=dict)


def create_accounts(
    step: RunStep,
    company: Company,
    *,
    beyond: UUID | None = None,
    only: Sequence[UUID] | None = None,
    limit: int = CUSTOMERS_PER_CHUNK,
    contested: Mapping[str, Sequence[UUID]] | None = None,
) -> CreatedAccounts:
    """Give each claimed GUID its account, and its customer all that was staged for it.

    Claims up to `limit` GUIDs of the company with a pending customer event and no account, in the
    order of the GUIDs: those beyond one, or only those named. Children go with their customer, but
    for those whose ids are `contested`, by kind: they follow as events of a known customer.

    Effects: customers and children with their change numbers, GUID map, number sequence, staging;
    in the caller's transaction. Customers for whom no number is left, or
    whom the database refuses, become failed, and none is drawn for them. Errors: StepFailed while
    an incident stops conversion. Source: reliability 3.5, ADR 0006.
    """
    require_issuing_allowed()
    # Of one company one conversion at a time: it would wait for the number sequence anyhow, and so
    # no two jobs ever hold the same GUID.
    lock_until_commit(f"accounts:{company.pk}")

    def create_chunk(
        children: Sequence[EventKind], guids: Sequence[UUID] | None
    ) -> CreatedAccounts:
        selected = only if guids is None else guids
        with step.counts_restored():
            return create_claimed(
                step,
                company,
                children,
                contested or {},
                beyond=beyond,
                only=selected,
                limit=limit,
            )

    def unopened() -> list[UUID]:
        return fetch_pending_guids(company, beyond=beyond, only=only, limit=limit)

    chunks, refused = bisect_rows(partial(create_chunk, CHILDREN), unopened)
    if refused:
        # It may be something of theirs: then that is added to them, or fails, by itself.
        suspects = list(refused)
        more, refused = bisect_rows(
            lambda guids: create_chunk((), suspects if guids is None else guids), lambda: suspects
        )
        unfailed = fail_events(CUSTOMER, "async_account", company.pk, list(refused))
        chunks += [
            *more,
            CreatedAccounts(failed=len(refused), last=max(refused, default=None), refused=unfailed),
        ]
    return CreatedAccounts(
        converted=sum(created.converted for created in chunks),
        failed=sum(created.failed for created in chunks),
        last=max((created.last for created in chunks if created.last), default=None),
        refused={guid: refusal for created in chunks for guid, refusal in created.refused.items()},
    )


def create_claimed(
    step: RunStep,
    company: Company,
    children: Sequence[EventKind],
    contested: Mapping[str, Sequence[UUID]],
    *,
    beyond: UUID | None,
    only: Sequence[UUID] | None,
    limit: int,
) -> CreatedAccounts:
    """Open the accounts of one chunk, all or none, with what belongs to them of these kinds."""
    with (
        prefer_index_scans(),
        claimed_guids(company, beyond=beyond, only=only, limit=limit) as claimed,
    ):
        (last,) = fetch_one(
            sql.SQL("SELECT max(async_account::text)::uuid FROM {claimed}").format(
                claimed=claimed.identifier
            )
        )
        failed = fail_exhausted(company, claimed)
        if failed < claimed.rows:
            run_sql(sql.SQL("ANALYZE {}").format(claimed.identifier))
            if insert_customers(step, company, claimed, claimed.rows - failed):
                replay_events(CUSTOMER, claimed)
            for kind in children:
                apart = contested.get(kind.name, ())
                if merge_children_of_new(step, company, kind, claimed, apart=apart):
                    replay_events(kind, claimed)
    return CreatedAccounts(converted=claimed.rows - failed, failed=failed, last=last)


def require_issuing_allowed() -> None:
    """Refuse while HQ may have forgotten numbers that it issued. Errors: StepFailed."""
    if incident := Incident.objects.blocking_conversion().order_by("pk").first():
        raise StepFailed(
            f"No account number is issued until incident {incident.pk} is closed: "
            f"{incident.message}"
        )


@contextmanager
def claimed_guids(
    company: Company, *, beyond: UUID | None, only: Sequence[UUID] | None, limit: int
) -> Iterator[WorkTable]:
    """GUIDs that need an account, each with the id of the customer it becomes.

    Shape: async_account, customer_id, hq_version, databases.
    """
    values = pending_guids_values(company, beyond=beyond, only=only, limit=limit)
    with ExitStack() as stack:
        with prefer_ordered_scan():
            claimed = stack.enter_context(
                query_table("claimed_guid", claim_statement(beyond), values)
            )
        yield claimed


def claim_statement(beyond: UUID | None) -> sql.Composed:
    return CLAIM_GUIDS.format(pending_guids=pending_guids(beyond))


def fetch_pending_guids(
    company: Company, *, beyond: UUID | None, only: Sequence[UUID] | None, limit: int
) -> list[UUID]:
    rows = fetch(
        pending_guids(beyond), pending_guids_values(company, beyond=beyond, only=only, limit=limit)
    )
    return [guid for guid, _ in rows]


def pending_guids(beyond: UUID | None) -> sql.Composed:
    """Query for GUIDs that need an account, each with the databases of the channel that made it."""
    return PENDING_GUIDS.format(after=sql.SQL(">=" if beyond is None else ">"))


def pending_guids_values(
    company: Company, *, beyond: UUID | None, only: Sequence[UUID] | None, limit: int
) -> dict[str, object]:
    return {
        "company": company.pk,
        "beyond": beyond or UUID(int=0),
        "only": None if only is None else [str(guid) for guid in only],
        "limit": limit,
    }


def fail_exhausted(company: Company, claimed: WorkTable) -> int:
    """Fail the customers for whom no number is left. Returns how many.

    The sequence is read without a lock: should another job take the last numbers meanwhile, its
    constraint refuses ours and the chunk is done again.
    """
    sequence = NumberSequence.objects.filter(company=company).first()
    remaining = sequence.left if sequence else 0
    if remaining >= claimed.rows:
        return 0
    run_sql(
        sql.SQL(
            """UPDATE async_customer s SET status = 'failed', reason = %(reason)s, field = NULL
                 FROM (SELECT async_account FROM {claimed} ORDER BY 1 OFFSET %(left)s) too_many
                WHERE s.company_id = %(company)s AND s.async_account = too_many.async_account
                  AND s.status = 'pending'"""
        ).format(claimed=claimed.identifier),
        {
            "company": company.pk,
            "left": remaining,
            "reason": "sequence_exhausted" if sequence else "sequence_missing",
        },
    )
    return run_sql(
        sql.SQL(
            """DELETE FROM {claimed} WHERE async_account IN
                   (SELECT async_account FROM {claimed} ORDER BY 1 OFFSET %s)"""
        ).format(claimed=claimed.identifier),
        [remaining],
    )


def insert_customers(step: RunStep, company: Company, claimed: WorkTable, count: int) -> bool:
    """Customers, their inherited affiliations and the GUID map.

    Says whether somebody had several events.
    """
    values = {
        "company": company.pk,
        "run": step.run_key,
        "first": reserve_numbers("number_sequence", "next", company.pk, count),
        "first_change": reserve_changes(company.pk, count),
    }
    with empty_table("new_customer", NEW_CUSTOMER_COLUMNS) as new_customers:
        events, customers = fetch_one(create_statement(claimed, new_customers), values)
        run_sql(
            sql.SQL(
                """INSERT INTO customer_affiliation (customer_id, affiliation, hq_version)
                   SELECT n.customer_id, a.affiliation, 1
                     FROM {new_customers} n JOIN channel h ON h.id = n.channel_id
                     JOIN customer_affiliation a
                       ON a.customer_id = h.default_customer_id AND a.is_active
                       ON CONFLICT DO NOTHING"""
            ).format(new_customers=new_customers.identifier)
        )
        run_sql(
            sql.SQL(
                """INSERT INTO guid_map (async_account, company_id, customer_id, channel_id, run_id)
                   SELECT async_account, %(company)s, customer_id, channel_id, %(run)s
                     FROM {new_customers}"""
            ).format(new_customers=new_customers.identifier),
            values,
        )
    return bool(events > customers)


def create_statement(claimed: WorkTable, new_customers: WorkTable) -> sql.Composed:
    return CREATE_CUSTOMERS.format(
        newest_events=newest_events(CUSTOMER, claimed, by_guid(claimed, CUSTOMER)),
        new_customers=new_customers.identifier,
        inherited=identifiers(INHERITED_COLUMNS, of="d"),
        columns=identifiers(CUSTOMER.columns),
        values=listed(map(column_or_default, CUSTOMER.columns)),
    )


def column_or_default(column: str) -> sql.Composable:
    """A column of the new customer, or what it inherits from the channel's default customer."""
    if column == "customer_type":
        text = "coalesce(nullif(n.{0}, ''), d.{0}, 'person')"
    elif column in INHERITED_COLUMNS:
        text = "coalesce(nullif(n.{0}, ''), d.{0})"
    else:
        text = "n.{0}"
    return sql.SQL(text).format(sql.Identifier(column))


def retry_exhausted(company: Company) -> int:
    """Make customers pending again that failed for want of a number. Returns events."""
    sequence = NumberSequence.objects.filter(company=company).first()
    if sequence is None or not sequence.left:
        return 0
    return run_sql(
        """UPDATE async_customer SET status = 'pending', reason = NULL
            WHERE company_id = %s AND status = 'failed'
              AND reason IN ('sequence_exhausted', 'sequence_missing')""",
        [company.pk],
    )


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
