"""Exceptions: customers that a channel database lacks although its position is past their change.

A database's position is the number of the last change that it has. Downloads send what lies beyond
it, so they would never send such a customer again: the channel refused the customer, or lost it, or
a person asks for it once more. An exception is open until the customer has arrived.

An open exception may block the database's downloads: with strict order, no package may follow one
from which the channel has refused a customer, until the channel accepts the customer or a person
cancels the session. All functions here run in the caller's transaction.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet

from stores.hqdb.sql import fetch, run_sql
from stores.messages.message import Message
from stores.models import ChannelDatabase, DownloadException, DownloadSession
from stores.models.package import ExceptionReason, listed_accounts
from stores.pipeline.refused_rows import close_report, first_errors, open_report

INCIDENT_SUBJECT = "customers"
# What the channel said of each customer that it refused, by account number.
Refusals = Mapping[str, str]


def add_exceptions(
    database: ChannelDatabase,
    customers: Collection[int],
    reason: ExceptionReason,
    *,
    by: Any = None,
) -> int:
    """Open exceptions for customers without an open one. Return how many were opened.

    `customers` are ids of customers, `by` is the user who asked for them.
    """
    return run_sql(
        """INSERT INTO download_exception
                  (database_id, customer_id, reason, message, tries, requested_by_id)
           SELECT %s, id, %s, '[]', 0, %s FROM unnest(%s::bigint[]) AS customer (id)
               ON CONFLICT (database_id, customer_id) WHERE settled_at IS NULL DO NOTHING""",
        [database.pk, reason.value, by and by.pk, sorted(customers)],
    )


@dataclass(frozen=True)
class RecordedRefusals:
    """The ids of the refused customers, and how often the channel has refused a blocking one."""

    customers: frozenset[int] = frozenset()
    blocking_tries: int = 0


def record_refusals(
    database: ChannelDatabase, refused: Refusals, *, blocks: bool
) -> RecordedRefusals:
    """Open an exception for each refused customer, or add a try to the open one.

    A new exception blocks downloads if `blocks` is true. An exception that was open before goes on
    blocking if the database still has strict order, but does not begin to block: a person may have
    canceled the session because of it.
    """
    rows = fetch(
        """INSERT INTO download_exception AS exception
                  (database_id, customer_id, reason, message, tries, tried_at, holds_up)
           SELECT %(database)s, customer.id, 'refused', refusal.message, 1, now(), %(blocks)s
             FROM unnest(%(accounts)s::text[], %(messages)s::jsonb[]) AS refusal (account, message)
             JOIN customer ON customer.company_id = %(company)s
                          AND customer.account_number = refusal.account
               ON CONFLICT (database_id, customer_id) WHERE settled_at IS NULL
               DO UPDATE SET reason = excluded.reason, message = excluded.message,
                             tries = exception.tries + 1, tried_at = now(),
                             holds_up = exception.holds_up AND %(is_strict)s
           RETURNING exception.customer_id, exception.holds_up, exception.tries""",
        {
            "database": database.pk,
            "company": database.channel.company_id,
            "accounts": list(refused),
            "messages": [Message("quoted", text=error).json for error in refused.values()],
            "blocks": blocks,
            "is_strict": database.strict_order,
        },
    )
    blocking_tries = [tries for _, is_blocking, tries in rows if is_blocking]
    return RecordedRefusals(
        frozenset(customer for customer, _, _ in rows), max(blocking_tries, default=0)
    )


def unblock_downloads(database: ChannelDatabase) -> None:
    """Let no exception of the database block its downloads. The exceptions stay open."""
    DownloadException.objects.filter(database=database, holds_up=True).update(holds_up=False)


def close_exceptions(session: DownloadSession, versions: Mapping[int, int]) -> None:
    """Close the exceptions of customers that have arrived with a session.

    `versions` has the version that arrived, by the id of the customer.
    """
    run_sql(
        """UPDATE download_exception exception
              SET settled_at = now(), tried_at = now(), tries = exception.tries + 1,
                  holds_up = false, session_id = %(session)s, version = arrived.version
             FROM unnest(%(customers)s::bigint[], %(versions)s::bigint[])
                  AS arrived (customer_id, version)
            WHERE exception.database_id = %(database)s AND exception.settled_at IS NULL
              AND exception.customer_id = arrived.customer_id""",
        {
            "session": str(session.pk),
            "database": session.database_id,
            "customers": list(versions),
            "versions": list(versions.values()),
        },
    )


def close_accepted(session: DownloadSession, refused: Refusals) -> None:
    """Close the blocking exceptions of customers that the channel now accepts from a package.

    `refused` are the customers of the session's package that the channel has refused again.
    """
    accepted = fetch(
        """SELECT change.customer_id, max(change.version)
             FROM package
             JOIN customer ON customer.company_id = package.company_id
             JOIN customer_change change
               ON change.customer_id = customer.id
              AND change.change_no > package.from_no AND change.change_no <= package.to_no
            WHERE package.id = %(package)s
              AND customer.account_number <> ALL(%(refused)s)
              AND customer.id IN (SELECT customer_id FROM download_exception
                                   WHERE database_id = %(database)s AND holds_up)
              -- A customer that had changed again before the package was made is in a later one.
              AND NOT EXISTS (SELECT FROM customer_change later
                               WHERE later.customer_id = customer.id
                                 AND later.change_no > package.to_no
                                 AND later.change_no <= package.latest_no)
            GROUP BY change.customer_id""",
        {"package": session.package_id, "database": session.database_id, "refused": list(refused)},
    )
    close_exceptions(session, dict(accepted))


def customers_to_retry(database: ChannelDatabase) -> "QuerySet[DownloadException, int]":
    """Return a query for the ids of the customers with an open exception.

    Customers that have changed since are left out, because the next package brings them.
    """
    exceptions = DownloadException.objects.open().filter(
        database=database, customer__change_no__lte=database.position
    )
    return exceptions.order_by("customer").values_list("customer_id", flat=True)


def report_refused_customers(database: ChannelDatabase, *, has_new: bool) -> None:
    """Report an incident if the channel has refused customers again, or close it if none is left.

    `has_new` says whether the channel has refused a customer during this visit.
    """
    exceptions = DownloadException.objects.open().filter(
        database=database, reason=ExceptionReason.REFUSED
    )
    refused = {
        account: str(message)
        for account, message in exceptions.order_by("customer").values_list(
            "customer__account_number", "message"
        )
    }
    if not refused:
        close_report(INCIDENT_SUBJECT, database)
    elif has_new:
        is_blocked = exceptions.filter(holds_up=True).exists()
        message = Message(
            "customers_refused",
            channel=database.label,
            count=len(refused),
            accounts=listed_accounts(exceptions),
            errors=first_errors(refused),
        )
        message += Message("later_downloads_wait" if is_blocked else "others_go_on")
        open_report(INCIDENT_SUBJECT, message, refused, database=database)
