"""Compare HQ with one channel database, both ways, and repair what can be repaired.

The ids of events are compared by fingerprints: of each of 256 buckets, by the first byte of the id,
both sides compute the number of ids and the sum of their hashes. Only the ids of buckets that
differ are read. The channel is read first, as of one moment, and HQ later: what the channel
acknowledged or was sent before must be there.

    acknowledged in the channel, unknown to HQ    repaired: the channel sends it again
    at HQ, gone from the channel                  reported: restored, or deleted after its time
    one event with two contents                   incident
    lines or payments without their header        incident
    an account or version that did not arrive     repaired: it is sent again
    a row with another content than HQ's          repaired: it is sent in a higher version
    a row of a customer that HQ never sent        repaired: it becomes inactive
    an account that HQ did not give               incident; the channel is blocked
"""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import NamedTuple, TypeAlias
from uuid import UUID, uuid4

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Exists, OuterRef, Q, Subquery
from psycopg2 import sql

from stores.channeldb.connect.connection import alias_of
from stores.channeldb.exchange.protocol import GUID_FORM, TableData, Target
from stores.channeldb.exchange.sqlite_values import WITHOUT_EVENT_ID
from stores.hqdb.sql import batched, copy_out_text, fetch, fetch_values, lock_until_commit, run_sql
from stores.hqdb.statistics import analyze_changed_tables
from stores.messages.message import Message
from stores.models import ChannelDatabase, Difference, Incident, RunStep
from stores.models.difference import DifferenceKind
from stores.models.incident import BLOCKS_CONVERSION, IncidentKind
from stores.models.job import StepCode
from stores.models.package import ExceptionReason
from stores.models.run import StepFailed
from stores.pipeline.download.exceptions import add_exceptions
from stores.pipeline.fence.visit import FencedChannel, enter
from stores.pipeline.integrity import contents
from stores.pipeline.integrity.contents import WrongRow, read_contents
from stores.pipeline.integrity.distribution import FOREIGN_ACCOUNTS
from stores.pipeline.integrity.fingerprints import (
    Fingerprints,
    add_row,
    count_rows_in,
    differing_buckets,
    parse_fingerprints,
)
from stores.pipeline.integrity.snapshot import (
    Copies,
    copies_of_channels,
    copy_contents,
    copy_table,
    note_channel,
    read_orphans,
    read_state,
    read_transaction,
)
from stores.pipeline.integrity.tables import (
    COMPARED_CONTENTS,
    COMPARED_CUSTOMERS,
    COMPARED_EVENTS,
    COMPARED_MAP,
    ComparedTable,
    lowest,
    sample_condition,
)
from stores.pipeline.integrity.upload import changed, receipts, vanished
from stores.pipeline.integrity.versions import raise_versions_above

# How many differences of one kind are saved. All are counted.
MAX_REPORTED_DIFFERENCES = 100
# How many rows one transaction of the channel writes.
BATCH_SIZE = 5_000
# Of a channel whose incident was closed so lately, it is looked at whether all is as it should be.
AFTER_INCIDENT = timedelta(days=1)
# The highest version from which a customer can be raised further.
MAX_VERSION = 1 << 62
# The fingerprints of the ids of a query, by bucket.
FINGERPRINTS_OF_IDS = """SELECT get_byte(uuid_send(id), 0), count(*),
                sum(('x' || left(encode(sha256(uuid_send(id)), 'hex'), 8))::bit(32)::bigint)
           FROM ({}) ids WHERE id IS NOT NULL GROUP BY 1"""


class Found(NamedTuple):
    """A row that differs. For the repair, `number` is an event's counter or a customer's id."""

    table: str
    key: str
    number: int | None = None


Differences: TypeAlias = dict[DifferenceKind, list[Found]]


@dataclass
class Comparison:
    """The rows that differ, by the kind of difference, and how many were compared.

    `wrong` are the rows of the channel that can be repaired.
    """

    compared: int
    rows: Differences
    wrong: list[WrongRow]

    def __bool__(self) -> bool:
        return any(self.rows.values())

    @property
    def message(self) -> Message:
        found = [difference(what, len(rows)) for what, rows in self.rows.items() if rows]
        return Message("differences", differences=found)


def codes_to_compare(now: datetime) -> list[str]:
    """The channels whose incident was closed lately, and that were not compared since.

    Every channel, if headquarters itself had been set back or moved.
    """
    settled = Incident.objects.filter(
        Q(database=OuterRef("pk")) | Q(kind__in=BLOCKS_CONVERSION),
        closed_at__range=(now - AFTER_INCIDENT, now),
    ).order_by("-closed_at")
    compared = RunStep.objects.filter(
        database=OuterRef("pk"),
        step__in=(StepCode.RECONCILE, StepCode.REPAIR),
        started_at__gt=OuterRef("settled_at"),
    )
    databases = (
        ChannelDatabase.objects.enabled()
        .annotate(settled_at=Subquery(settled.values("closed_at")[:1]))
        .filter(~Exists(compared), settled_at__isnull=False)
    )
    return sorted(set(databases.values_list("channel__code", flat=True)))


def difference(what: DifferenceKind, count: int) -> Message:
    """How many differences of a kind there are, such as "3 gone from the channel"."""
    return Message(f"difference_{what.value}", count=count)


def compare_channel(step: RunStep) -> None:
    """Compare, and save the differences and incidents. Raise StepFailed if there are any."""
    reconcile(step, is_repair=False)


def repair_channel(step: RunStep) -> None:
    """Compare, then withdraw acknowledgements and send customers again. Raise StepFailed too."""
    reconcile(step, is_repair=True)


def reconcile(step: RunStep, *, is_repair: bool) -> None:
    with enter(step) as channel:
        comparison = compare_database(step.its_database)
        with step.chunk():
            record_differences(step, comparison)
        if is_repair and not step.is_dry:
            repair(step, channel, comparison)
    if comparison:
        raise StepFailed(comparison.message)


# ------------------------------------------------------------------ comparing


def compare_database(database: ChannelDatabase) -> Comparison:
    """Read the channel, then HQ, and compare them."""
    with copies_of_channels() as copies:
        note_channel(database, copies)
        compared, buckets = 0, {}
        with read_transaction(connections[alias_of(database)]) as channel:
            for copy, content in zip(COMPARED_EVENTS, COMPARED_CONTENTS, strict=True):
                channel_prints = id_fingerprints(channel, copy)
                hq_ids = FINGERPRINTS_OF_IDS.format(held_at_hq(database, copy))
                hq_prints = parse_fingerprints(fetch(hq_ids))
                rows = count_rows_in(channel_prints)
                compared += rows
                buckets[copy.source] = differing_buckets(channel_prints, hq_prints)
                # An event without a valid id is in no bucket. PostgreSQL has no such event.
                nameless = f" OR {WITHOUT_EVENT_ID}" if channel.vendor == "sqlite" else ""
                condition = bucket_condition(buckets[copy.source]) + nameless
                copy_table(channel, database, copies, copy, condition)
                copy_contents(channel, database, copies, content, sample_condition(rows))
            compared += sum(
                copy_table(channel, database, copies, copy)
                for copy in (COMPARED_MAP, COMPARED_CUSTOMERS)
            )
            read_state(channel, database, copies)
            compared += read_contents(channel, database, copies.held)
            orphans = read_orphans(channel, database)
        analyze_changed_tables()
        differences = find_differences(buckets, copies)
        wrong = find_content_differences(database, differences, copies)
        differences[DifferenceKind.STRAY] += [
            Found(row["table"], row["transaction_id"]) for row in orphans
        ]
        return Comparison(compared, differences, wrong)


def id_fingerprints(channel: BaseDatabaseWrapper, copy: ComparedTable) -> Fingerprints:
    """Return the fingerprints of the ids that the channel says are acknowledged."""
    if channel.vendor == "postgresql":
        held = f"SELECT event_id AS id FROM public.{copy.source} WHERE acknowledged_at IS NOT NULL"  # noqa: S608
        with channel.cursor() as cursor:
            cursor.execute(FINGERPRINTS_OF_IDS.format(held))
            return parse_fingerprints(cursor.fetchall())
    fingerprints: Fingerprints = {}
    for (value,) in channel.connection.execute(
        f'SELECT CAST("event_id" AS BLOB) FROM "{copy.source}"'  # noqa: S608 - our own names
        ' WHERE "acknowledged_at" IS NOT NULL'
    ):
        text = (value or b"").decode("ascii", "replace")
        if GUID_FORM.fullmatch(text):
            id = UUID(text).bytes
            add_row(fingerprints, id[0], int.from_bytes(hashlib.sha256(id).digest()[:4]))
    return fingerprints


def held_at_hq(database: ChannelDatabase, copy: ComparedTable) -> str:
    """Return the query for the ids of the events that HQ has from the database.

    Those of generation 0 came by the real-time service, and need not be in the database.
    """
    return f"""SELECT event_id AS id FROM {copy.source}
                WHERE database_id = {database.pk} AND generation > 0
                UNION SELECT event_id FROM quarantine
                       WHERE database_id = {database.pk} AND "table" = '{copy.source}'"""  # noqa: S608


def bucket_condition(buckets: Sequence[int]) -> str:
    """Return the WHERE clause for the events in these buckets."""
    ranges = [
        f"(event_id >= '{lowest(byte)}'"
        + (f" AND event_id < '{lowest(byte + 1)}')" if byte < 255 else ")")
        for byte in buckets
    ]
    return f" WHERE {' OR '.join(ranges)}" if ranges else " WHERE 1 = 0"


def find_differences(buckets: dict[str, list[int]], copies: Copies) -> Differences:
    """Return all differences but those of contents. Events are compared in the given buckets."""
    found: Differences = {what: [] for what in DifferenceKind}
    for copy in COMPARED_EVENTS:
        found[DifferenceKind.UNKNOWN] += [
            Found(copy.source, event_id or "-", int(counter))
            for _, _, _, event_id, counter in fetch(receipts(copy, copies))
        ]
        first = [f"{byte:02x}" for byte in buckets[copy.source]]
        gone = vanished(copy, copies, "left(event.event_id::text, 2) = ANY(%(first)s)")
        found[DifferenceKind.VANISHED] += [
            Found(copy.source, event_id) for _, _, event_id in fetch(gone, {"first": first})
        ]
    found[DifferenceKind.CHANGED] += [
        Found(table, str(row[2]))
        for table, statement in changed(copies).items()
        for row in fetch(statement)
    ]
    found[DifferenceKind.FOREIGN] += [
        *(Found("account_map", guid) for _, guid, _, _ in fetch(FOREIGN_ACCOUNTS, **copies.names)),
        *(Found("customer", account) for account in fetch_values(OTHER_GUID, **copies.names)),
    ]
    not_arrived = fetch(contents.NOT_ARRIVED, **copies.names)
    found[DifferenceKind.NOT_ARRIVED] += [
        Found("customer", account, customer) for _, account, customer in not_arrived
    ]
    return found


def find_content_differences(
    database: ChannelDatabase, differences: Differences, copies: Copies
) -> list[WrongRow]:
    """Add the rows of customers with another content to `differences`. Return those to repair.

    A customer who did not arrive at all, or has another GUID, is another kind of difference.
    """
    with transaction.atomic():
        run_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        wrong = contents.find_wrong_rows(database.pk, copies.held)
    foreign = {row.key for row in differences[DifferenceKind.FOREIGN]}
    wrong = [row for row in wrong if row.account not in foreign]
    not_arrived = {row.key for row in differences[DifferenceKind.NOT_ARRIVED]}
    for row in (row for row in wrong if row.account not in not_arrived):
        what = DifferenceKind.NOT_SENT if row.is_extra else DifferenceKind.DIFFERENT
        key = row.account if row.table == "customer" else f"{row.account} {row.part}"
        differences[what].append(Found(row.table, key, row.customer))
    return [row for row in wrong if row.customer is not None]


# Accounts that the channel has under another GUID than the one that created them.
OTHER_GUID = """
    SELECT held.account_number FROM {customers} held
      JOIN customer ON customer.company_id = held.company
                   AND customer.account_number = held.account_number
      LEFT JOIN guid_map guid ON guid.customer_id = customer.id AND guid.origin = 'created'
     WHERE held.async_account IS NOT NULL
       AND held.async_account IS DISTINCT FROM guid.async_account"""


def record_differences(step: RunStep, comparison: Comparison) -> None:
    """Count the differences, save the first of each kind, and open or close incidents."""
    step.add(compared=comparison.compared)
    for what, rows in comparison.rows.items():
        step.add(**{what.value: len(rows)})
        if not step.is_dry:
            Difference.objects.bulk_create(
                Difference(step=step, what=what, table=row.table, key=row.key[:60])
                for row in rows[:MAX_REPORTED_DIFFERENCES]
            )
    for what, kind in INCIDENTS.items():
        if (rows := comparison.rows[what]) and not step.is_dry:
            Incident.objects.report(
                kind,
                Message("difference", channel=step.place, difference=difference(what, len(rows))),
                database=step.its_database,
                detail={"keys": [row.key for row in rows[:MAX_REPORTED_DIFFERENCES]]},
            )
    if not (comparison.rows[DifferenceKind.STRAY] or step.is_dry):
        # The till has sent the missing headers, so that no person needs to close this.
        resolved = Incident.objects.filter(
            database=step.its_database, kind=IncidentKind.PARTS_ALONE
        )
        resolved.close("Every line and payment has its header now.")


INCIDENTS = {
    DifferenceKind.CHANGED: IncidentKind.CONTENT_CHANGED,
    DifferenceKind.FOREIGN: IncidentKind.FORGOTTEN_ACCOUNT,
    DifferenceKind.STRAY: IncidentKind.PARTS_ALONE,
}


# ------------------------------------------------------------------ repairing


def repair(step: RunStep, channel: FencedChannel, comparison: Comparison) -> None:
    """Let the channel send again what HQ lacks, and send again what the channel lacks."""
    counters: dict[str, list[int]] = defaultdict(list)
    for row in comparison.rows[DifferenceKind.UNKNOWN]:
        if row.number is not None:
            counters[row.table].append(row.number)
    for table, unknown in counters.items():
        for batch in batched(unknown, BATCH_SIZE):
            reopened = channel.reopen(table, batch)
            with step.chunk():
                step.add(reopened=reopened)
    not_arrived = comparison.rows[DifferenceKind.NOT_ARRIVED]
    customers = [row.number for row in not_arrived if row.number is not None]
    with step.chunk():
        pending = add_exceptions(step.its_database, customers, ExceptionReason.NOT_ARRIVED)
        step.add(owed_again=pending)
    if comparison.wrong:
        repair_contents(step, channel, comparison.wrong)


def repair_contents(step: RunStep, channel: FencedChannel, wrong: Sequence[WrongRow]) -> None:
    """Send the customers of wrong rows in a version above the channel's, and remove extra rows.

    A channel accepts a row again only in a higher version. An extra row becomes inactive.
    """
    highest: dict[int, int] = {}
    for row in wrong:
        if row.customer is not None:
            version = min(row.version or 0, MAX_VERSION)
            highest[row.customer] = max(version, highest.get(row.customer, 0))
    with step.chunk():
        lock_until_commit(f"accounts:{step.its_database.channel.company_id}")
        raised = raise_versions_above(highest, step.its_database.channel.company_id)
        step.add(owed_again=len(raised))
    removed = [
        inactive_rows(table.target, extra)
        for table in contents.CONTENT_TABLES
        if (extra := [row for row in wrong if row.is_extra and row.table == table.target.table])
    ]
    if removed:
        channel.apply(removed, session=uuid4(), part=1, job="reconcile")


def inactive_rows(target: Target, extra: Sequence[WrongRow]) -> TableData:
    """Return the data that makes extra rows of a channel inactive."""
    part = target.key[-1]
    kind = dict(zip(target.columns, target.types, strict=True))[part]
    values = sql.SQL(", ").join(
        sql.SQL("({}, {})").format(sql.Literal(row.customer), sql.Literal(row.part))
        for row in extra
    )
    query = sql.SQL(
        """SELECT customer.company_id, customer.account_number, extra.part::{}, false,
                  customer.hq_version
             FROM (VALUES {}) extra (customer_id, part)
             JOIN customer ON customer.id = extra.customer_id"""
    ).format(sql.SQL(kind), values)
    columns = ("company", "account_number", part, "is_active", "hq_version")
    types = ("text", "text", kind, "boolean", "bigint")
    return TableData(
        replace(target, columns=columns, types=types, immutable=()), copy_out_text(query)
    )
