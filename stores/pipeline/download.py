"""1010: HQ customers -> channel.

Each database is sent what it is owed, and HQ notes it as delivered only after the channel
committed. A crash in between sends the same versions once more, which changes nothing.
"""

from dataclasses import dataclass
from typing import Any

from django.db import connection, transaction
from django.db.models import F
from django.db.models.functions import Now
from psycopg2 import sql

from stores.channeldb.connection import ChannelError
from stores.channeldb.visit import Package, Target, Visit, visit
from stores.models import DownloadSession, RunStep
from stores.models.exchange import DownloadStatus
from stores.models.run import RunCancelled
from stores.pipeline.bulk import CUSTOMERS, copy_out, fetch, fetch_one, run_sql
from stores.pipeline.kinds import CHILDREN, CUSTOMER, Kind

JOB = "1010"


@dataclass(frozen=True)
class Sent:
    """A table of the channel and HQ's query that fills it, for the customers in `owed`."""

    target: Target
    query: sql.Composable


def sent_customer() -> Sent:
    """Customers with the GUID that created them."""
    own = CUSTOMER.columns
    columns = ("company", "account_number", "async_account", *own, "is_blocked", "is_active")
    query = sql.SQL(
        """SELECT k.company_id, k.account_number, m.async_account, {}, k.is_blocked, k.is_active,
                  k.hq_version
             FROM owed JOIN customer k ON k.id = owed.customer_id
             LEFT JOIN guid_map m ON m.customer_id = k.id AND m.origin = 'created'"""
    ).format(sql.SQL(", ").join(sql.Identifier("k", column) for column in own))
    types = ("text", "text", "uuid", *map(CUSTOMER.type_of, own), "boolean", "boolean", "bigint")
    target = Target("customer", (*columns, "hq_version"), types, ("company", "account_number"))
    return Sent(target, query)


def sent_child(kind: Kind) -> Sent:
    """Addresses, contacts, affiliations or attributes of the customers."""
    query = sql.SQL(
        """SELECT k.company_id, k.account_number, {}, r.is_active, r.hq_version
             FROM owed JOIN customer k ON k.id = owed.customer_id
             JOIN {} r ON r.customer_id = k.id"""
    ).format(
        sql.SQL(", ").join(sql.Identifier("r", column) for column in kind.columns),
        sql.Identifier(kind.table),
    )
    owner = ("company", "account_number")
    columns = (*owner, *kind.columns, "is_active", "hq_version")
    types = ("text", "text", *map(kind.type_of, kind.columns), "boolean", "bigint")
    # Ids of addresses and contacts are unique by themselves; names only within their customer.
    key = kind.key if kind.key == kind.conflict else (*owner, *kind.key)
    return Sent(Target(kind.table, columns, types, key), query)


def sent_map() -> Sent:
    """Every GUID that led to one of the customers."""
    query = sql.SQL(
        """SELECT m.async_account, k.company_id, k.account_number
             FROM owed JOIN customer k ON k.id = owed.customer_id
             JOIN guid_map m ON m.customer_id = k.id"""
    )
    columns = ("async_account", "company", "account_number")
    types = ("uuid", "text", "text")
    return Sent(Target("account_map", columns, types, ("async_account",), version=None), query)


TABLES = [sent_customer(), *map(sent_child, CHILDREN), sent_map()]
# SQLite has no types of its own for these; the contract says how they are written.
AS_TUPLE = {"uuid": "::text", "date": "::text", "boolean": "::int"}


def download_accounts(step: RunStep) -> None:
    """Give the channel database the customers it is owed, oldest account first.

    Effects: the channel's tables, a part a transaction, then deliveries and counts in HQ.
    Errors: ChannelError when the channel cannot be visited any more; it stays owed the rest.
    """
    if step.is_dry:
        with step.chunk():
            step.add(distributed=count_owed(step))
        return
    if not count_owed(step):
        return
    session = DownloadSession.objects.create(
        run=step.run, database=step.its_database, status=DownloadStatus.AVAILABLE
    )
    try:
        with visit(step.database) as channel:
            send_all(step, session, channel)
    except Exception as error:
        end_badly(session, error)
        raise
    DownloadSession.objects.filter(pk=session.pk).update(
        status=DownloadStatus.APPLIED, applied_at=Now()
    )


def end_badly(session: DownloadSession, error: Exception) -> None:
    """Say at the session why it ended early; the database stays owed the rest."""
    stopped = isinstance(error, RunCancelled)
    session.status = DownloadStatus.CANCELED if stopped else DownloadStatus.DOWNLOAD_FAILED
    # A driver's own text may quote a row.
    session.message = str(error)[:300] if isinstance(error, ChannelError) else ""
    session.save(update_fields=["status", "message"])


def count_owed(step: RunStep) -> int:
    """How many customers the database lacks in their present version."""
    (owed,) = fetch_one(
        "SELECT count(*) FROM delivery WHERE database_id = %s AND delivered_version < version",
        [step.database_id],
    )
    return int(owed)


def send_all(step: RunStep, session: DownloadSession, channel: Visit) -> None:
    """Send part after part, in the order of the customers' ids."""
    beyond, part = 0, 0
    while True:
        last, packages = read_part(step, beyond, as_copy=channel.takes_copy)
        if last is None:
            return
        beyond, part = last, part + 1
        rows = channel.apply(packages, session=session.pk, part=part, job=JOB)
        with step.chunk():
            delivered = mark_delivered(step, session)
            step.add(distributed=delivered)
            DownloadSession.objects.filter(pk=session.pk).update(
                status=DownloadStatus.DOWNLOADED,
                parts=part,
                customers=F("customers") + delivered,
                rows=F("rows") + rows,
                size_bytes=F("size_bytes") + sum(len(package.data) for package in packages),
            )


def read_part(step: RunStep, beyond: int, *, as_copy: bool) -> tuple[int | None, list[Package]]:
    """The next customers the database is owed and all that belongs to them, of one moment.

    Returns the greatest customer id, or None when nothing is owed any more.
    """
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        last, is_first = claim_owed(step, beyond)
        if last is None:
            return None, []
        return last, [package(sent, as_copy=as_copy, is_first=is_first) for sent in TABLES]


def claim_owed(step: RunStep, beyond: int) -> tuple[int | None, bool]:
    """Table owed: the next customers of the database with the version they have now.

    Outlives the transaction, because the channel commits before HQ notes the delivery. Returns the
    greatest id, if there is any, and whether the database has none of them yet.
    """
    run_sql("DROP TABLE IF EXISTS pg_temp.owed")
    run_sql(
        """CREATE TEMP TABLE owed AS
           SELECT d.customer_id, k.hq_version AS version, d.delivered_version = 0 AS is_first
             FROM delivery d JOIN customer k ON k.id = d.customer_id
            WHERE d.database_id = %(database)s AND d.delivered_version < d.version
              AND d.customer_id > %(beyond)s
            ORDER BY d.customer_id LIMIT %(limit)s""",
        {"database": step.database_id, "beyond": beyond, "limit": CUSTOMERS},
    )
    run_sql("ANALYZE owed")
    last, is_first = fetch_one("SELECT max(customer_id), bool_and(is_first) FROM owed")
    return None if last is None else int(last), bool(is_first)


def package(sent: Sent, *, as_copy: bool, is_first: bool) -> Package:
    """The rows for one table, in the form that the engine takes."""
    if as_copy:
        return Package(sent.target, data=copy_out(sent.query), is_first=is_first)
    columns: list[Any] = [
        sql.SQL("{}" + AS_TUPLE.get(name, "")).format(sql.Identifier(column))
        for column, name in zip(sent.target.columns, sent.target.types, strict=True)
    ]
    query = sql.SQL("SELECT {} FROM ({}) AS sent ({})").format(
        sql.SQL(", ").join(columns),
        sent.query,
        sql.SQL(", ").join(map(sql.Identifier, sent.target.columns)),
    )
    return Package(sent.target, rows=fetch(query))


def mark_delivered(step: RunStep, session: DownloadSession) -> int:
    """Note what the channel has committed. Returns customers."""
    return run_sql(
        """UPDATE delivery d
              SET delivered_version = owed.version, version = greatest(d.version, owed.version),
                  delivered_at = now(), session_id = %s
             FROM owed
            WHERE d.database_id = %s AND d.customer_id = owed.customer_id
              AND d.delivered_version < owed.version""",
        [str(session.pk), step.database_id],
    )
