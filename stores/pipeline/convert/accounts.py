"""The only place that creates accounts: staged customers become HQ customers with a number.

Convert, Synchronize orders, end of day and the real-time service all come here and nowhere else.
Of one company one conversion runs at a time, so nobody else waits for its number sequence; only who
registers a channel does, for one chunk.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from uuid import UUID

from psycopg2 import sql

from stores.hqdb.retry import bisect_rows
from stores.hqdb.sql import (
    fetch,
    fetch_one,
    identifiers,
    lock_until_commit,
    prefer_index_scans,
    prefer_ordered_scan,
    reserve_numbers,
    run_sql,
)
from stores.models import Company, Customer, Incident, NumberSequence, RunStep
from stores.models.run import StepFailed
from stores.pipeline.chunk_sizes import CUSTOMERS_PER_CHUNK
from stores.pipeline.convert.merge import merge_children, newest_events
from stores.pipeline.convert.replay import replay_events
from stores.pipeline.events.kinds import CHILDREN, CUSTOMER, INHERITED_COLUMNS, EventKind
from stores.pipeline.refused_rows import fail_events


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

    Effects: customers and children, GUID map, deliveries to every enabled database of the company,
    number sequence, staging; in the caller's transaction. Customers for whom no number is left, or
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
    with prefer_index_scans():
        with prefer_ordered_scan():
            claim_guids(company, beyond=beyond, only=only, limit=limit)
        (claimed, last) = fetch_one("SELECT count(*), max(async_account::text)::uuid FROM claimed")
        failed = fail_exhausted(company, claimed)
        if failed < claimed:
            run_sql("ANALYZE claimed")
            if insert_customers(step, company, claimed - failed):
                replay_events(CUSTOMER)
            for kind in children:
                if merge_children(step, company, kind, apart=contested.get(kind.name, ())):
                    replay_events(kind)
        run_sql("DROP TABLE claimed")
    return CreatedAccounts(converted=claimed - failed, failed=failed, last=last)


def require_issuing_allowed() -> None:
    """Refuse while HQ may have forgotten numbers that it issued. Errors: StepFailed."""
    if incident := Incident.objects.blocking_conversion().order_by("pk").first():
        raise StepFailed(
            f"No account number is issued until incident {incident.pk} is closed: "
            f"{incident.message}"
        )


def claim_guids(
    company: Company, *, beyond: UUID | None, only: Sequence[UUID] | None, limit: int
) -> None:
    """Table claimed: GUIDs that need an account, each with the id of the customer it becomes."""
    run_sql(
        sql.SQL(
            """CREATE TEMP TABLE claimed ON COMMIT DROP AS
               SELECT async_account, nextval('customer_id_seq') AS customer_id,
                      true AS is_new, 1::bigint AS hq_version, databases
                 FROM ({}) fresh ORDER BY async_account"""
        ).format(pending_guids(beyond)),
        pending_guids_values(company, beyond=beyond, only=only, limit=limit),
    )


def fetch_pending_guids(
    company: Company, *, beyond: UUID | None, only: Sequence[UUID] | None, limit: int
) -> list[UUID]:
    rows = fetch(
        pending_guids(beyond), pending_guids_values(company, beyond=beyond, only=only, limit=limit)
    )
    return [guid for guid, _ in rows]


def pending_guids(beyond: UUID | None) -> sql.Composable:
    """Query for GUIDs that need an account, each with the databases of the channel that made it.

    A GUID whose event also names an account is an edit of that account, not a new customer. Should
    two channels name it, it is the first one's.
    """
    # Limited before anything is joined, so that a chunk reads its own GUIDs and no others.
    return sql.SQL(
        """SELECT g.async_account, home.databases
             FROM (SELECT DISTINCT ON (s.async_account) s.async_account,
                          coalesce(s.database_id, s.for_database_id) AS id
                     FROM async_customer s
                    WHERE s.company_id = %(company)s AND s.status = 'pending'
                      AND s.async_account {after} %(beyond)s AND s.account_number IS NULL
                      AND (%(only)s::uuid[] IS NULL OR s.async_account = ANY(%(only)s::uuid[]))
                      AND NOT EXISTS (SELECT FROM guid_map m
                                       WHERE m.async_account = s.async_account
                                         AND m.async_account {after} %(beyond)s)
                    ORDER BY s.async_account, s.staged_at LIMIT %(limit)s) g
             JOIN (SELECT b.id, array_agg(o.id) AS databases
                     FROM channel_database b JOIN channel_database o USING (channel_id)
                    GROUP BY b.id) home USING (id)
            ORDER BY g.async_account"""
    ).format(after=sql.SQL(">=" if beyond is None else ">"))


def pending_guids_values(
    company: Company, *, beyond: UUID | None, only: Sequence[UUID] | None, limit: int
) -> dict[str, object]:
    return {
        "company": company.pk,
        "beyond": beyond or UUID(int=0),
        "only": None if only is None else [str(guid) for guid in only],
        "limit": limit,
    }


def fail_exhausted(company: Company, claimed: int) -> int:
    """Fail the customers for whom no number is left. Returns how many.

    The sequence is read without a lock: should another job take the last numbers meanwhile, its
    constraint refuses ours and the chunk is done again.
    """
    sequence = NumberSequence.objects.filter(company=company).first()
    remaining = sequence.left if sequence else 0
    if remaining >= claimed:
        return 0
    run_sql(
        """UPDATE async_customer s SET status = 'failed', reason = %(reason)s, field = NULL
             FROM (SELECT async_account FROM claimed ORDER BY 1 OFFSET %(left)s) too_many
            WHERE s.company_id = %(company)s AND s.async_account = too_many.async_account
              AND s.status = 'pending'""",
        {
            "company": company.pk,
            "left": remaining,
            "reason": "sequence_exhausted" if sequence else "sequence_missing",
        },
    )
    return run_sql(
        """DELETE FROM claimed WHERE async_account IN
               (SELECT async_account FROM claimed ORDER BY 1 OFFSET %s)""",
        [remaining],
    )


def insert_customers(step: RunStep, company: Company, count: int) -> bool:
    """Customers, their inherited affiliations, the GUID map and the deliveries to every database.

    Says whether somebody had several events.
    """
    first = reserve_numbers("number_sequence", "next", company.pk, count)
    values = {
        "company": company.pk,
        "run": step.run_key,
        "first": first,
    }
    run_sql(
        """CREATE TEMP TABLE new_customer (
               async_account uuid, customer_id bigint, channel_id bigint) ON COMMIT DROP"""
    )
    events, customers = fetch_one(
        sql.SQL(
            """WITH {newest},
             home_channel AS MATERIALIZED (
               SELECT b.id AS home_database_id, b.channel_id, q.format, {inherited}
                 FROM channel_database b JOIN channel h ON h.id = b.channel_id
                 JOIN number_sequence q ON q.company_id = %(company)s
                 LEFT JOIN customer d ON d.id = h.default_customer_id),
             written AS (
               INSERT INTO customer (id, company_id, account_number, number, is_active, hq_version,
                                     event_at, event_database, event_generation, event_counter,
                                     {columns})
               SELECT n.customer_id, %(company)s, account_text(d.format, n.number), n.number,
                      n.last_operation <> 'deactivate', 1,
                      n.last_at, n.last_database, n.last_generation, n.last_counter,
                      {values}
                 FROM (SELECT *, %(first)s - 1 + row_number() OVER (ORDER BY async_account)
                              AS number FROM newest) n
                 JOIN home_channel d USING (home_database_id)
               RETURNING id), known AS (
               INSERT INTO new_customer
               SELECT n.async_account, n.customer_id, d.channel_id
                 FROM newest n JOIN home_channel d USING (home_database_id)
               RETURNING 1)
               SELECT (SELECT count(*) FROM taken), (SELECT count(*) FROM known)"""
        ).format(
            newest=newest_events(CUSTOMER),
            inherited=identifiers(INHERITED_COLUMNS, of="d"),
            columns=identifiers(CUSTOMER.columns),
            values=sql.SQL(", ").join(map(column_or_default, CUSTOMER.columns)),
        ),
        values,
    )
    run_sql(
        """INSERT INTO customer_affiliation (customer_id, affiliation, hq_version)
           SELECT new_customer.customer_id, a.affiliation, 1
             FROM new_customer JOIN channel h ON h.id = new_customer.channel_id
             JOIN customer_affiliation a ON a.customer_id = h.default_customer_id AND a.is_active
               ON CONFLICT DO NOTHING"""
    )
    run_sql(
        """INSERT INTO guid_map (async_account, company_id, customer_id, channel_id, run_id)
           SELECT async_account, %(company)s, customer_id, channel_id, %(run)s FROM new_customer""",
        values,
    )
    create_deliveries(company)
    run_sql("DROP TABLE new_customer")
    return bool(events > customers)


def column_or_default(column: str) -> sql.Composable:
    """A column of the new customer, or what it inherits from the channel's default customer."""
    if column == "customer_type":
        text = "coalesce(nullif(n.{0}, ''), d.{0}, 'person')"
    elif column in INHERITED_COLUMNS:
        text = "coalesce(nullif(n.{0}, ''), d.{0})"
    else:
        text = "n.{0}"
    return sql.SQL(text).format(sql.Identifier(column))


def create_deliveries(company: Company) -> None:
    """Create the deliveries of the new customers to every enabled database of their company.

    Read after the sequence was locked: who enables a channel locks it first, so neither misses the
    other.
    """
    run_sql(
        """INSERT INTO delivery (database_id, customer_id, version)
           SELECT b.id, new_customer.customer_id, 1
             FROM channel_database b JOIN channel h ON h.id = b.channel_id CROSS JOIN new_customer
            WHERE h.company_id = %s AND h.is_enabled AND b.is_enabled
            ORDER BY 1, 2""",
        [company.pk],
    )


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

    Effects: the customer and, with `deliver`, the deliveries to every database of the company; in
    the caller's transaction. Errors: IntegrityError for an account that the sequence would issue.
    """
    customer = Customer.objects.create(company=company, account_number=account_number, **columns)
    if deliver:
        run_sql(
            """INSERT INTO delivery (database_id, customer_id, version)
               SELECT b.id, %s, 1 FROM channel_database b JOIN channel h ON h.id = b.channel_id
                WHERE h.company_id = %s AND h.is_enabled AND b.is_enabled""",
            [customer.pk, company.pk],
        )
    return customer
