"""Check the promises of Syncline from the databases alone (reliability, section 2).

For commands, because channels are opened. They are read first, each in one snapshot, into temporary
tables of HQ; then HQ is looked at as of one later moment. HQ only adds rows, and acknowledges or
delivers after it committed, so that what is true of the earlier channels must be true of the later
HQ, while everything runs. Each check is a function of what was read; each statement names what is
wrong, so that an empty answer is the proof.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from tempfile import SpooledTemporaryFile
from typing import IO, Any

from django.db import connection, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg2 import sql

from stores.channeldb.connection import ChannelError, connect
from stores.channeldb.schema import EVENT_TABLES
from stores.channeldb.sqlite import ESCAPES
from stores.channeldb.visit import GUID
from stores.models import ChannelDatabase
from stores.pipeline.bulk import fetch_one, names, run_sql
from stores.pipeline.kinds import KINDS

# How many breaches are named; one is enough to worry.
NAMED = 20
# What a copy between two databases may hold in memory.
IN_MEMORY = 1 << 24
# Statements of a check, and of reading a large channel, may take longer than those of a visit.
PATIENCE = "SET LOCAL statement_timeout = '10min'"

STAGED = [kind.event for kind in KINDS]


@dataclass(frozen=True)
class Check:
    """Whether one invariant holds, over how many rows, and the first that break it."""

    id: str
    title: str
    ok: bool
    checked: int
    offending: list[dict[str, Any]]


@dataclass
class Seen:
    """What was read of the channels: their rows are in temporary tables."""

    unreachable: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Guard:
    """A rule of HQ's database by which an invariant is kept even when Python is wrong."""

    kind: str
    table: str
    name: str


def verify() -> list[Check]:
    """Check every invariant, also while jobs run. Effects: temporary tables, gone at the end."""
    with channels_read() as seen, transaction.atomic():
        run_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        run_sql(PATIENCE)
        return [check(seen) for check in CHECKS]


# ------------------------------------------------------------------ reading channels


@dataclass(frozen=True)
class Copy:
    """A table of the channels and the columns of it that are compared, with PostgreSQL's types."""

    target: str
    source: str
    columns: tuple[tuple[str, str], ...]
    condition: str = ""


ACKNOWLEDGED = [
    Copy(
        f"seen_{table.name}",
        table.name,
        (("event_id", "uuid"), ("replication_counter", "bigint")),
        " WHERE acknowledged_at IS NOT NULL",
    )
    for table in EVENT_TABLES
]
MAP = Copy(
    "seen_map",
    "account_map",
    (("async_account", "uuid"), ("company", "text"), ("account_number", "text")),
)
COPIES = (MAP, *ACKNOWLEDGED)


@contextmanager
def channels_read() -> Iterator[Seen]:
    """Copy what is compared from every enabled channel database into temporary tables."""
    seen = Seen()
    run_sql("CREATE TEMP TABLE seen_channel (database_id bigint, label text, read_at timestamptz)")
    for copy in COPIES:
        run_sql(create(copy))
    try:
        for database in ChannelDatabase.objects.enabled().with_channel():
            try:
                read(database)
            except ChannelError:
                seen.unreachable.append({"channel": database.label, "error": "unreachable"})
        for copy in COPIES:
            run_sql(sql.SQL("ANALYZE {}").format(sql.Identifier(copy.target)))
        yield seen
    finally:
        for name in ("seen_channel", *(copy.target for copy in COPIES)):
            run_sql(sql.SQL("DROP TABLE {}").format(sql.Identifier(name)))


def create(copy: Copy) -> sql.Composable:
    """The temporary table for one table of all channels."""
    columns = sql.SQL(", ").join(
        sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(kind)) for name, kind in copy.columns
    )
    return sql.SQL("CREATE TEMP TABLE {} (database_id bigint, {})").format(
        sql.Identifier(copy.target), columns
    )


def read(database: ChannelDatabase) -> None:
    """Copy one channel, all its tables as of one moment; nothing of it if it goes away."""
    with transaction.atomic():
        # HQ's clock before the channel is opened: what was delivered earlier must be seen.
        run_sql(
            "INSERT INTO seen_channel VALUES (%s, %s, clock_timestamp())",
            [database.pk, database.label],
        )
        with connect(database) as alias, one_moment(connections[alias]) as channel:
            for copy in COPIES:
                with SpooledTemporaryFile(max_size=IN_MEMORY) as rows:
                    write_rows(channel, database, copy, rows)
                    rows.seek(0)
                    with connection.cursor() as cursor:
                        cursor.copy_expert(
                            sql.SQL("COPY {} FROM STDIN").format(sql.Identifier(copy.target)), rows
                        )


@contextmanager
def one_moment(channel: BaseDatabaseWrapper) -> Iterator[BaseDatabaseWrapper]:
    """A read transaction of the channel that sees one snapshot and locks nobody out."""
    if channel.vendor == "postgresql":
        with transaction.atomic(using=channel.alias), channel.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            cursor.execute(PATIENCE)
            yield channel
    else:
        channel.connection.execute("BEGIN DEFERRED")
        try:
            yield channel
        finally:
            channel.connection.execute("ROLLBACK")


def write_rows(
    channel: BaseDatabaseWrapper, database: ChannelDatabase, copy: Copy, rows: IO[bytes]
) -> None:
    """The rows of one table in COPY's text format, the database's number in front."""
    if channel.vendor == "postgresql":
        statement = sql.SQL("COPY (SELECT {}, {} FROM public.{}{}) TO STDOUT").format(
            sql.Literal(database.pk),
            names([name for name, _ in copy.columns]),
            sql.Identifier(copy.source),
            sql.SQL(copy.condition),
        )
        with channel.cursor() as cursor:
            cursor.copy_expert(statement, rows)
        return
    # As blobs: a damaged text must not fail the whole table.
    columns = ", ".join(f'CAST("{name}" AS BLOB)' for name, _ in copy.columns)
    readers = [as_guid if kind == "uuid" else as_text for _, kind in copy.columns]
    for found in channel.connection.execute(
        f'SELECT {columns} FROM "{copy.source}"{copy.condition}'  # noqa: S608 - our own names
    ):
        values = [reader(value) for reader, value in zip(readers, found, strict=True)]
        rows.write("\t".join([str(database.pk), *values]).encode() + b"\n")


def as_guid(value: bytes | None) -> str:
    """COPY text of a GUID; what is no GUID becomes NULL, which is nobody's."""
    found = (value or b"").decode("ascii", "replace")
    return found if GUID.fullmatch(found) else r"\N"


def as_text(value: bytes | None) -> str:
    """COPY text of a text, as far as it is one."""
    if value is None:
        return r"\N"
    return value.decode("utf-8", "replace").replace("\0", "\ufffd").translate(ESCAPES)


# ------------------------------------------------------------------ judging


def judged(id: str, title: str, checked: int, *breaches: list[dict[str, Any]]) -> Check:
    """The verdict: whatever breaks the invariant is named."""
    offending = [breach for found in breaches for breach in found]
    return Check(id, title, not offending, checked, offending[:NAMED])


def found(statement: str, params: Sequence[Any] = ()) -> list[dict[str, Any]]:
    """The first rows of a query that looks for what is wrong."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM ({statement}) breach LIMIT {NAMED}", params or None)  # noqa: S608
        columns = [column.name for column in cursor.description]
        return [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]


def count(table: str, condition: str = "true") -> int:
    """The rows of one of our tables."""
    return int(fetch_one(f"SELECT count(*) FROM {table} WHERE {condition}")[0])  # noqa: S608


GUARDED = {
    "constraint": """SELECT FROM pg_constraint c
         WHERE c.conrelid = to_regclass(%(table)s) AND c.conname = %(name)s AND c.convalidated
           AND NOT EXISTS (SELECT FROM pg_trigger t
                            WHERE t.tgconstraint = c.oid AND t.tgenabled = 'D')""",
    "foreign key": """SELECT FROM pg_constraint c
         WHERE c.conrelid = to_regclass(%(table)s) AND c.confrelid = to_regclass(%(name)s)
           AND c.contype = 'f' AND c.convalidated
           AND NOT EXISTS (SELECT FROM pg_trigger t
                            WHERE t.tgconstraint = c.oid AND t.tgenabled = 'D')""",
    "unique index": """SELECT FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
         WHERE i.indrelid = to_regclass(%(table)s) AND c.relname = %(name)s
           AND i.indisunique AND i.indisvalid""",
    "trigger": """SELECT FROM pg_trigger t
         WHERE t.tgrelid = to_regclass(%(table)s) AND t.tgname = %(name)s
           AND t.tgenabled IN ('O', 'A')""",
}


def unguarded(*guards: Guard) -> list[dict[str, Any]]:
    """The guards that are missing, not valid or switched off."""
    return [
        {"missing": f"{guard.kind} {guard.name} on {guard.table}"}
        for guard in guards
        if not fetch_one(
            f"SELECT EXISTS ({GUARDED[guard.kind]})", {"table": guard.table, "name": guard.name}
        )[0]
    ]


def one_account_per_guid(seen: Seen) -> Check:
    return judged(
        "I1",
        "One GUID has at most one account.",
        count("guid_map"),
        unguarded(Guard("constraint", "guid_map", "guid_map_pkey")),
        found(
            """SELECT async_account::text, count(*) AS accounts FROM guid_map
                GROUP BY async_account HAVING count(*) > 1"""
        ),
    )


def one_guid_creates_an_account(seen: Seen) -> Check:
    return judged(
        "I2",
        "One account has one creating GUID; all others are linked to it.",
        count("customer"),
        unguarded(
            Guard("constraint", "customer", "account_is_unique_in_its_company"),
            Guard("unique index", "guid_map", "one_guid_creates_an_account"),
            Guard("constraint", "guid_map", "guid_origin_is_known"),
        ),
        found(
            """SELECT company_id AS company, account_number, count(*) AS customers FROM customer
                GROUP BY company_id, account_number HAVING count(*) > 1"""
        ),
        found(
            """SELECT k.company_id AS company, k.account_number,
                      count(m.async_account) AS creating_guids
                 FROM customer k
                 LEFT JOIN guid_map m ON m.customer_id = k.id AND m.origin = 'created'
                GROUP BY k.id, k.company_id, k.account_number, k.number
               HAVING count(m.async_account) > 1
                   OR (k.number IS NOT NULL AND count(m.async_account) = 0)"""
        ),
    )


def numbers_have_no_gaps(seen: Seen) -> Check:
    return judged(
        "I3",
        "The account numbers of a company have no gap, none is issued twice or still to be issued.",
        count("customer", "number IS NOT NULL"),
        unguarded(
            Guard("constraint", "customer", "number_is_issued_once_in_its_company"),
            Guard("trigger", "customer", "accounts_fit_their_sequence"),
            Guard("trigger", "customer", "a_customer_is_never_deleted"),
            Guard("trigger", "number_sequence", "the_next_number_never_falls"),
            Guard("trigger", "number_sequence", "a_used_sequence_is_never_deleted"),
        ),
        found(
            """SELECT s.company_id AS company, count(k.number) AS have, s.next - s.start AS should,
                      min(k.number) AS smallest, max(k.number) AS largest, s.next
                 FROM number_sequence s LEFT JOIN customer k USING (company_id)
                GROUP BY s.company_id, s.start, s.next
               HAVING count(DISTINCT k.number) <> s.next - s.start
                   OR count(k.number) <> s.next - s.start
                   OR coalesce(min(k.number), s.start) <> s.start
                   OR coalesce(max(k.number), s.start - 1) <> s.next - 1"""
        ),
        found(
            """SELECT k.company_id AS company, k.account_number, k.number
                 FROM customer k LEFT JOIN number_sequence s USING (company_id)
                WHERE CASE WHEN k.number IS NOT NULL THEN s.next IS NULL
                      ELSE account_place(s.format, k.account_number) BETWEEN s.start AND s.largest
                      END"""
        ),
    )


def accounts_have_their_format(seen: Seen) -> Check:
    return judged(
        "I4",
        "An account number is its number in the format of its company, which is frozen once used.",
        count("customer", "number IS NOT NULL"),
        unguarded(
            Guard("trigger", "customer", "an_account_never_changes"),
            Guard("trigger", "number_sequence", "the_format_is_frozen_once_used"),
        ),
        found(
            """SELECT k.company_id AS company, k.account_number, k.number
                 FROM customer k JOIN number_sequence s USING (company_id)
                WHERE k.number IS NOT NULL
                  AND k.account_number <> account_text(s.format, k.number)"""
        ),
    )


def accounts_are_never_rewritten(seen: Seen) -> Check:
    return judged(
        "I5",
        "A GUID keeps its account for ever: in headquarters, its events and the channels.",
        count("guid_map"),
        seen.unreachable,
        unguarded(Guard("trigger", "guid_map", "the_map_never_changes")),
        found(
            """SELECT c.label AS channel, v.async_account::text, v.account_number AS in_channel,
                      k.account_number AS at_headquarters
                 FROM seen_map v JOIN seen_channel c USING (database_id)
                 JOIN guid_map m USING (async_account) JOIN customer k ON k.id = m.customer_id
                WHERE (v.company, v.account_number)
                      IS DISTINCT FROM (k.company_id::text, k.account_number::text)"""
        ),
        found(
            """SELECT s.async_account::text, s.event_id::text, was.account_number AS applied_to,
                      k.account_number AS at_headquarters
                 FROM async_customer s JOIN guid_map m USING (async_account)
                 JOIN customer k ON k.id = m.customer_id
                 LEFT JOIN customer was ON was.id = s.customer_id
                WHERE s.status IN ('applied', 'superseded') AND s.account_number IS NULL
                  AND s.customer_id <> m.customer_id"""
        ),
    )


def no_false_receipts(seen: Seen) -> Check:
    return judged(
        "I7",
        "Every event that a channel holds as acknowledged is at headquarters, or set aside there.",
        sum(count(copy.target) for copy in ACKNOWLEDGED),
        seen.unreachable,
        *(false_receipts(copy) for copy in ACKNOWLEDGED),
    )


def false_receipts(copy: Copy) -> list[dict[str, Any]]:
    """Acknowledged events of one table that HQ has in neither staging nor quarantine."""
    # Sales are not taken in yet: whoever acknowledged one gave a false receipt.
    staged = copy.source if copy.source in STAGED else "(SELECT NULL::uuid AS event_id)"
    return found(
        f"""SELECT c.label AS channel, '{copy.source}' AS "table", v.event_id::text,
                   v.replication_counter
              FROM {copy.target} v JOIN seen_channel c USING (database_id)
              LEFT JOIN {staged} s ON s.event_id = v.event_id
             WHERE s.event_id IS NULL
               AND NOT EXISTS (SELECT FROM quarantine q
                                WHERE q.database_id = v.database_id AND q."table" = '{copy.source}'
                                  AND q.row_key = v.replication_counter::text
                                  AND (q.event_id = v.event_id OR q.event_id IS NULL
                                       OR v.event_id IS NULL))"""  # noqa: S608
    )


def every_row_is_accounted_for(seen: Seen) -> Check:
    rows = " UNION ALL ".join(f"SELECT session_id FROM {table}" for table in STAGED)  # noqa: S608
    return judged(
        "I11",
        "Of every row that an upload read is known what became of it, and a recount agrees.",
        count("upload_session"),
        unguarded(
            Guard("constraint", "upload_session", "every_row_read_is_accounted_for"),
            *(
                Guard("constraint", table, f"{table.replace('_', '')}_status_is_known")
                for table in STAGED
            ),
        ),
        found(
            f"""WITH staged AS (SELECT session_id AS id, count(*) AS n FROM ({rows}) r GROUP BY 1),
                    aside AS (SELECT session_id AS id, count(*) AS n FROM quarantine GROUP BY 1)
               SELECT id::text AS session, u.read, u.staged, s.n AS staged_rows, u.quarantined,
                      q.n AS quarantined_rows
                 FROM upload_session u FULL JOIN staged s USING (id) FULL JOIN aside q USING (id)
                WHERE u.id IS NULL
                   OR u.read <> u.staged + u.unchanged + u.quarantined + u.waiting
                   OR u.staged <> coalesce(s.n, 0) OR u.quarantined <> coalesce(q.n, 0)"""  # noqa: S608
        ),
    )


def conversion_is_atomic(seen: Seen) -> Check:
    return judged(
        "I13",
        "Account, customer, applied event and what each channel is owed came into being together.",
        count("guid_map"),
        unguarded(
            Guard("constraint", "guid_map", "guid_and_customer_share_the_company"),
            Guard("constraint", "guid_map", "guid_and_channel_share_the_company"),
            Guard("trigger", "delivery", "deliveries_have_customer_and_database"),
            Guard("trigger", "delivery", "a_delivery_is_never_moved"),
        ),
        found(
            """SELECT s.async_account::text, 'applied without account' AS what
                 FROM async_customer s LEFT JOIN guid_map m USING (async_account)
                WHERE s.status IN ('applied', 'superseded') AND s.account_number IS NULL
                  AND m.async_account IS NULL"""
        ),
        found(
            """SELECT m.async_account::text, 'account without customer' AS what
                 FROM guid_map m LEFT JOIN customer k ON k.id = m.customer_id WHERE k.id IS NULL"""
        ),
        found(
            """SELECT m.async_account::text, 'account without event' AS what FROM guid_map m
                WHERE NOT EXISTS (SELECT FROM async_customer s
                                   WHERE s.async_account = m.async_account
                                     AND s.status IN ('applied', 'erased'))"""
        ),
        found(
            """SELECT m.async_account::text, 'delivery missing' AS what,
                      concat_ws('/', h.code, nullif(b.name, '')) AS channel
                 FROM guid_map m
                 JOIN channel h ON h.company_id = m.company_id AND h.is_enabled
                 JOIN channel_database b ON b.channel_id = h.id AND b.is_enabled
                 LEFT JOIN delivery d ON d.database_id = b.id AND d.customer_id = m.customer_id
                WHERE d.customer_id IS NULL"""
        ),
    )


def addresses_have_one_owner(seen: Seen) -> Check:
    return judged(
        "I15",
        "Every address has one owner, at most one is primary for each purpose, and none is lost.",
        count("customer_address"),
        seen.unreachable,
        unguarded(
            Guard("foreign key", "customer_address", "customer"),
            Guard("unique index", "customer_address", "one_primary_address_per_purpose"),
        ),
        found(
            """SELECT a.address_id::text, 'no owner' AS what FROM customer_address a
                 LEFT JOIN customer k ON k.id = a.customer_id WHERE k.id IS NULL"""
        ),
        found(
            """SELECT s.address_id::text, 'owner is not what its GUID became' AS what
                 FROM async_address s JOIN guid_map m USING (async_account)
                WHERE s.status = 'applied' AND s.account_number IS NULL
                  AND s.customer_id <> m.customer_id"""
        ),
        found(
            """SELECT k.account_number, a.purpose, count(*) AS primaries
                 FROM customer_address a JOIN customer k ON k.id = a.customer_id
                WHERE a.is_primary AND a.is_active
                GROUP BY a.customer_id, k.account_number, a.purpose HAVING count(*) > 1"""
        ),
        *(false_receipts(copy) for copy in ACKNOWLEDGED if copy.source == "async_address"),
    )


def channels_know_nothing_else(seen: Seen) -> Check:
    return judged(
        "I17",
        "Every account that a channel knows is the one that headquarters gave the GUID.",
        count("seen_map"),
        seen.unreachable,
        found(
            """SELECT c.label AS channel, v.async_account::text, v.company, v.account_number
                 FROM seen_map v JOIN seen_channel c USING (database_id)
                 LEFT JOIN guid_map m USING (async_account)
                 LEFT JOIN customer k ON k.id = m.customer_id
                WHERE (v.company, v.account_number)
                      IS DISTINCT FROM (k.company_id::text, k.account_number::text)"""
        ),
    )


# What HQ has noted as delivered before a channel was read, and owes no newer version of.
DELIVERED = """FROM delivery d JOIN seen_channel c USING (database_id)
                 JOIN guid_map m USING (customer_id)
                WHERE d.delivered_version = d.version AND d.delivered_at < c.read_at"""


def channels_know_what_was_delivered(seen: Seen) -> Check:
    (owed,) = fetch_one(
        """SELECT count(*) FROM delivery d JOIN seen_channel c USING (database_id)
            WHERE d.delivered_version < d.version"""
    )
    (delivered,) = fetch_one(f"SELECT count(*) {DELIVERED}")
    return judged(
        "I18",
        "Every enabled channel has the account of every GUID of its company that was delivered to "
        f"it; what is still owed ({owed:,}) is late and no breach.",
        int(delivered),
        seen.unreachable,
        found(
            f"""SELECT c.label AS channel, m.async_account::text, 'lacks the account' AS what
                {DELIVERED}
                  AND NOT EXISTS (SELECT FROM seen_map v
                                   WHERE v.database_id = d.database_id
                                     AND v.async_account = m.async_account)"""  # noqa: S608
        ),
        found(
            """SELECT c.label AS channel, v.async_account::text, 'of another company' AS what
                 FROM seen_map v JOIN seen_channel c USING (database_id)
                 JOIN channel_database b ON b.id = v.database_id
                 JOIN channel h ON h.id = b.channel_id WHERE v.company <> h.company_id"""
        ),
    )


def runs_do_not_overlap(seen: Seen) -> Check:
    return judged(
        "I28",
        "Of one job and scope at most one run is live, and fencing numbers only grow.",
        count("job_run"),
        unguarded(
            Guard("unique index", "job_run", "one_live_run_per_job_and_scope"),
            Guard("trigger", "job_run", "fencing_numbers_only_grow"),
        ),
        found(
            """SELECT job, scope, count(*) AS live FROM job_run
                WHERE status IN ('queued', 'running') GROUP BY job, scope HAVING count(*) > 1"""
        ),
        found(
            """SELECT fencing_no, count(*) AS runs FROM job_run WHERE fencing_no IS NOT NULL
                GROUP BY fencing_no HAVING count(*) > 1
                    OR fencing_no > (SELECT last_value FROM job_run_fencing)"""
        ),
    )


CHECKS: tuple[Callable[[Seen], Check], ...] = (
    one_account_per_guid,
    one_guid_creates_an_account,
    numbers_have_no_gaps,
    accounts_have_their_format,
    accounts_are_never_rewritten,
    no_false_receipts,
    every_row_is_accounted_for,
    conversion_is_atomic,
    addresses_have_one_owner,
    channels_know_nothing_else,
    channels_know_what_was_delivered,
    runs_do_not_overlap,
)
