"""Customers that a channel database lacks although its position is past their change."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from stores.hqdb.sql import fetch, run_sql
from stores.models import ChannelDatabase, DownloadException, DownloadSession
from stores.models.labels import plural
from stores.models.package import ExceptionReason, listed_accounts
from stores.pipeline.refused_rows import close_report, open_report, reasons_of

# The subject of the incident.
REPORTED_AS = "customers"
# What a channel said of a refused customer, by account.
Refusals = Mapping[str, str]


def add_exceptions(
    database: ChannelDatabase,
    customers: Collection[int],
    reason: ExceptionReason,
    *,
    by: Any = None,
) -> int:
    """Have customers sent again to one database. Returns how many were not to be sent already.

    `by` is the user who asked for it. Effects: exceptions, in the caller's transaction.
    """
    return run_sql(
        """INSERT INTO download_exception
                  (database_id, customer_id, reason, message, tries, requested_by_id)
           SELECT %s, id, %s, '', 0, %s FROM unnest(%s::bigint[]) AS given (id)
               ON CONFLICT (database_id, customer_id) WHERE settled_at IS NULL DO NOTHING""",
        [database.pk, reason.value, by and by.pk, sorted(customers)],
    )


@dataclass(frozen=True)
class RefusedCustomers:
    """Who was refused; and how often those who hold up their package, if any does."""

    customers: frozenset[int] = frozenset()
    times: int = 0


def record_refused(
    database: ChannelDatabase, refused: Refusals, *, hold_up: bool
) -> RefusedCustomers:
    """Note the customers that a channel has refused, in the caller's transaction.

    With `hold_up` they hold up their package; not those whose refusal was known and passed before,
    and nobody without strict order.
    """
    rows = fetch(
        """INSERT INTO download_exception AS e
                  (database_id, customer_id, reason, message, tries, tried_at, holds_up)
           SELECT %(database)s, k.id, 'refused', given.message, 1, now(), %(hold_up)s
             FROM unnest(%(accounts)s::text[], %(messages)s::text[]) given (account, message)
             JOIN customer k ON k.company_id = %(company)s AND k.account_number = given.account
               ON CONFLICT (database_id, customer_id) WHERE settled_at IS NULL
               DO UPDATE SET reason = excluded.reason, message = excluded.message,
                             tries = e.tries + 1, tried_at = now(),
                             holds_up = e.holds_up AND %(is_strict)s
           RETURNING e.customer_id, e.holds_up, e.tries""",
        {
            "database": database.pk,
            "company": database.channel.company_id,
            "accounts": list(refused),
            "messages": [message[:300] for message in refused.values()],
            "hold_up": hold_up,
            "is_strict": database.strict_order,
        },
    )
    return RefusedCustomers(
        frozenset(customer for customer, _, _ in rows),
        max((tries for _, holds_up, tries in rows if holds_up), default=0),
    )


def pass_refused(database: ChannelDatabase) -> None:
    """Let no refused customer hold up a package any more, in the caller's transaction."""
    DownloadException.objects.filter(database=database, holds_up=True).update(holds_up=False)


def settle(session: DownloadSession, versions: Mapping[int, int]) -> None:
    """Note that a session has brought customers, each in its version; in the caller's transaction.

    Shape of `versions`: a customer's id -> the version that arrived.
    """
    run_sql(
        """UPDATE download_exception e
              SET settled_at = now(), tried_at = now(), tries = e.tries + 1, holds_up = false,
                  session_id = %(session)s, version = given.version
             FROM unnest(%(customers)s::bigint[], %(versions)s::bigint[])
                  AS given (customer_id, version)
            WHERE e.database_id = %(database)s AND e.customer_id = given.customer_id
              AND e.settled_at IS NULL""",
        {
            "session": str(session.pk),
            "database": session.database_id,
            "customers": list(versions),
            "versions": list(versions.values()),
        },
    )


def settle_accepted(session: DownloadSession, refused: Refusals) -> None:
    """Note that a package brought customers whom the channel had refused, and refuses no longer.

    The channel still refuses others of it. Effects: exceptions, in the caller's transaction.
    """
    accepted = fetch(
        """SELECT c.customer_id, max(c.version)
             FROM package p
             JOIN customer k ON k.company_id = p.company_id
             JOIN customer_change c ON c.customer_id = k.id
                                   AND c.change_no > p.from_no AND c.change_no <= p.to_no
            WHERE p.id = %(package)s AND k.account_number <> ALL(%(refused)s)
              AND NOT EXISTS (SELECT FROM customer_change later
                               WHERE later.customer_id = k.id AND later.change_no > p.to_no
                                 AND later.change_no <= p.latest_no)
              AND k.id IN (SELECT customer_id FROM download_exception
                            WHERE database_id = %(database)s AND holds_up)
            GROUP BY 1""",
        {
            "package": session.package_id,
            "database": session.database_id,
            "refused": list(refused),
        },
    )
    settle(session, dict(accepted))


def open_exceptions(database: ChannelDatabase) -> list[int]:
    """The customers to be tried again; a package brings those who have changed since."""
    rows = (
        DownloadException.objects.open()
        .filter(database=database, customer__change_no__lte=database.position)
        .order_by("customer")
    )
    return list(rows.values_list("customer_id", flat=True))


def report_refused_customers(database: ChannelDatabase, *, has_refused: bool) -> None:
    """Report whom a channel has refused at this visit; without any left the report is closed.

    Effects: an incident, in the caller's transaction.
    """
    exceptions = DownloadException.objects.open().filter(
        database=database, reason=ExceptionReason.REFUSED
    )
    refused = dict(
        exceptions.order_by("customer").values_list("customer__account_number", "message")
    )
    if not refused:
        close_report(REPORTED_AS, database)
    elif has_refused:
        wait = (
            "In strict order, all later downloads wait."
            if exceptions.filter(holds_up=True).exists()
            else "The others go on."
        )
        open_report(
            REPORTED_AS,
            f"Channel {database.label} refuses {plural('customer', len(refused))}"
            f" {listed_accounts(exceptions)} ({reasons_of(refused)}). {wait}",
            refused,
            database=database,
        )
