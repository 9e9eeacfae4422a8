"""What the checker sees: one moment of a channel, one moment of headquarters."""

# ruff: noqa: S608 - the names in these queries stand in the lists below.

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

import psycopg2
from psycopg2.extensions import ISOLATION_LEVEL_REPEATABLE_READ

from tests.proofs.chaos.places import Place, rows

EVENTS = (
    "async_customer",
    "async_address",
    "async_contact",
    "async_affiliation",
    "async_attribute",
)
# Columns of the tables that HQ and every channel share; those after the bar are yes or no.
SHARED = {
    "customer": "first_name last_name name email phone birth_date | is_active",
    "customer_address": "address_id street city purpose country | is_primary is_active",
    "customer_contact": "contact_id kind locator | is_primary is_active",
    "customer_affiliation": "affiliation | is_active",
    "customer_attribute": "attribute value | is_active",
}
Row = tuple[Any, ...]


class Event(NamedTuple):
    """A row of an event table, or HQ's copy of one; `name` is the first name a customer event has.

    The status of a channel's own row is "held" once it was acknowledged, else "".
    """

    place: int
    table: str
    counter: int
    status: str
    guid: str
    name: str
    operation: str
    # Of HQ's copies only.
    reason: str = ""
    generation: int = 0
    account: str = ""


class Sale(NamedTuple):
    """HQ's copy of a sale, return or order: where it is, and whether it can no longer get lost."""

    place: int
    transaction_id: str
    status: str
    statement: str
    order: str
    rules: str
    waits: str


@dataclass(frozen=True)
class ChannelObservation:
    """One moment of a channel database; of sales only the ids, and whether each is acknowledged."""

    place: Place
    events: dict[str, Event]
    sales: dict[str, bool]
    account_map: dict[str, str]
    versions: dict[str, int]
    shown: list[str]
    shared: dict[str, set[Row]]


@dataclass(frozen=True)
class HQObservation:
    """One moment of headquarters; accounts are pairs of company and account number."""

    events: dict[str, Event]
    sales: dict[str, Sale]
    tenders: dict[tuple[str, str, str, str], Decimal]
    payments: dict[tuple[str, str, str, str], Decimal]
    hq_made: set[str]
    kept: set[tuple[int, str, str]]
    kept_ids: set[str]
    guid_map: dict[str, tuple[str, str]]
    # Those GUIDs whose account number is in the number journal, and so may leave HQ.
    journaled: set[str]
    creators: dict[tuple[str, str], int]
    numbers: dict[str, list[int]]
    sequences: dict[str, tuple[int, int]]
    deliveries: dict[tuple[int, str], tuple[int, int]]
    shared: dict[str, set[Row]]
    live_runs: list[tuple[str, str, str]]
    incidents: list[tuple[str, int | None]]
    # Databases of which HQ has ever said that they were set back or exist twice.
    noticed: set[int]


def select(columns: str, prefix: str = "") -> str:
    """The columns as texts and numbers that both engines write alike."""
    texts, _, flags = columns.partition("|")
    return ", ".join(
        [f"CAST({prefix}{name} AS TEXT)" for name in texts.split()]
        + [f"CAST({prefix}{name} AS INTEGER)" for name in flags.split()]
    )


def observe_channel(place: Place) -> ChannelObservation:
    """Look at one moment of a channel."""
    with place.snapshot() as cursor:
        events = {
            str(event_id).lower(): Event(
                place.pk, table, counter, "held" if held else "", str(guid or "").lower(), *words
            )
            for table in EVENTS
            for event_id, counter, held, guid, *words in rows(cursor, written(table))
        }
        sales = {
            str(event_id).lower(): bool(held)
            for event_id, held in rows(
                cursor, "SELECT event_id, acknowledged_at IS NOT NULL FROM retail_transaction"
            )
        }
        known = rows(cursor, "SELECT CAST(async_account AS TEXT), account_number FROM account_map")
        versions = rows(cursor, "SELECT account_number, hq_version FROM customer")
        shown = rows(cursor, "SELECT display_account FROM customer_lookup")
        shared = {
            table: set(
                rows(cursor, f"SELECT account_number, {select(columns)}, hq_version FROM {table}")
            )
            for table, columns in SHARED.items()
        }
    return ChannelObservation(
        place, events, sales, dict(known), dict(versions), [one for (one,) in shown], shared
    )


def written(table: str) -> str:
    """The query for a channel's own events of one table."""
    return f"""SELECT event_id, replication_counter, acknowledged_at IS NOT NULL, async_account,
                      {name_in(table)}, operation FROM {table}"""


def name_in(table: str) -> str:
    return "coalesce(first_name, '')" if table == "async_customer" else "''"


# Of each thread, by address: a new connection reads the catalogs anew, which takes most of a look.
_connections = threading.local()


def observe_hq(address: str) -> HQObservation:
    """Look at one moment of headquarters."""
    try:
        return _look(address)
    except (psycopg2.OperationalError, psycopg2.InterfaceError):
        # A restore, or the end of the server, has ended the connection.
        _connections.__dict__.pop(address, None)
        return _look(address)


def _look(address: str) -> HQObservation:
    connection = _connections.__dict__.get(address)
    if connection is None:
        connection = _connections.__dict__[address] = psycopg2.connect(address)
        connection.set_session(isolation_level=ISOLATION_LEVEL_REPEATABLE_READ, readonly=True)
    with connection, connection.cursor() as cursor:
        return _see(cursor)


def _see(cursor: Any) -> HQObservation:
    staged = [row for table in EVENTS for row in _staged(cursor, table)]
    quarantine = rows(cursor, 'SELECT database_id, "table", row_key, event_id FROM quarantine')
    numbers: dict[str, list[int]] = {}
    for company, number in rows(
        cursor, "SELECT company_id, number FROM customer WHERE number IS NOT NULL"
    ):
        numbers.setdefault(company, []).append(number)
    return HQObservation(
        events={event_id: event for event_id, event, _ in staged},
        sales={event_id: Sale(*columns) for event_id, *columns in rows(cursor, SALES)},
        tenders={tuple(drawer): amount for *drawer, amount in rows(cursor, TENDERS)},
        payments={tuple(drawer): amount for *drawer, amount in rows(cursor, PAYMENTS)},
        hq_made={event_id for event_id, _, origin in staged if origin == "hq"},
        kept={(place, table, key) for place, table, key, _ in quarantine},
        kept_ids={str(event_id) for *_, event_id in quarantine if event_id},
        guid_map={guid: (company, account) for guid, company, account in rows(cursor, GUIDS)},
        journaled={guid for (guid,) in rows(cursor, JOURNALED)},
        creators={(company, account): count for company, account, count in rows(cursor, CREATORS)},
        numbers=numbers,
        sequences={company: (first, after) for company, first, after in rows(cursor, SEQUENCES)},
        deliveries={(place, account): (has, owed) for place, account, has, owed in rows(cursor, D)},
        shared={table: set(_shared(cursor, table)) for table in SHARED},
        live_runs=rows(
            cursor, "SELECT job, scope, id::text FROM job_run WHERE status IN ('queued', 'running')"
        ),
        incidents=rows(cursor, "SELECT kind, database_id FROM incident WHERE closed_at IS NULL"),
        noticed={database for (database,) in rows(cursor, NOTICED)},
    )


SALES = """SELECT t.event_id::text, t.database_id, t.transaction_id, t.validation_status,
                  coalesce(s.state, ''), coalesce(o.number, ''),
                  coalesce((SELECT string_agg(DISTINCT e.rule, ' ') FROM transaction_error e
                             WHERE e.transaction_id = t.id), ''), coalesce(t.order_reason, '')
             FROM retail_transaction t LEFT JOIN statement s ON s.id = t.statement_id
             LEFT JOIN sales_order o ON o.id = t.sales_order_id WHERE t.origin = 'till'"""
TENDERS = """SELECT c.code, s.business_date::text, x.tender_type, x.currency, sum(x.amount)
               FROM statement_tender x JOIN statement s ON s.id = x.statement_id
               JOIN channel c ON c.id = s.channel_id WHERE s.state = 'posted' GROUP BY 1, 2, 3, 4"""
PAYMENTS = """SELECT c.code, s.business_date::text, p.tender_type, p.currency, sum(p.amount)
                FROM posted_payment p JOIN statement s ON s.id = p.statement_id
                JOIN channel c ON c.id = s.channel_id
               WHERE p.kind IN ('payment', 'prepayment') GROUP BY 1, 2, 3, 4"""
GUIDS = """SELECT m.async_account::text, k.company_id, k.account_number
             FROM guid_map m JOIN customer k ON k.id = m.customer_id"""
JOURNALED = """SELECT m.async_account::text FROM guid_map m JOIN customer k ON k.id = m.customer_id
                WHERE k.number < (SELECT max((j.following ->> k.company_id)::bigint)
                                    FROM number_journal j)"""
CREATORS = """SELECT k.company_id, k.account_number, count(m.async_account)
                FROM customer k
                LEFT JOIN guid_map m ON m.customer_id = k.id AND m.origin = 'created'
               WHERE k.number IS NOT NULL AND k.state = 'active' GROUP BY k.id"""
SEQUENCES = "SELECT company_id, start, next FROM number_sequence"
# What a database has of a customer by what HQ has noted of it, and what it should have.
D = """SELECT b.id, k.account_number,
              CASE WHEN k.change_no <= b.position
                    AND NOT EXISTS (SELECT FROM download_exception e
                                     WHERE e.database_id = b.id AND e.customer_id = k.id
                                       AND e.settled_at IS NULL)
                   THEN k.hq_version ELSE 0 END,
              k.hq_version
         FROM channel_database b JOIN channel h ON h.id = b.channel_id
         JOIN customer k ON k.company_id = h.company_id AND k.change_no IS NOT NULL"""
NOTICED = """SELECT DISTINCT database_id FROM incident
              WHERE kind IN ('channel_restored', 'channel_forked')"""


def _staged(cursor: Any, table: str) -> Iterator[tuple[str, Event, str]]:
    for event_id, origin, *columns in rows(
        cursor,
        f"""SELECT event_id::text, coalesce(to_jsonb(s) ->> 'origin', 'till'), s.database_id,
                   '{table}', s.replication_counter, s.status, coalesce(s.async_account::text, ''),
                   {name_in(table)}, s.operation, coalesce(s.reason, ''), s.generation,
                   coalesce((SELECT k.account_number FROM customer k WHERE k.id = s.customer_id),
                            '')
              FROM {table.replace("async_", "staged_")} s""".replace(
            "(first_name", "(s.first_name"
        ),
    ):
        yield event_id, Event(*columns), origin


def _shared(cursor: Any, table: str) -> list[Row]:
    """HQ's rows of a shared table: the database that is owed them, then what the channel holds."""
    columns, owner = select(SHARED[table], "r."), "id" if table == "customer" else "customer_id"
    return rows(
        cursor,
        f"""SELECT b.id, k.account_number, {columns}, r.hq_version
              FROM {table} r JOIN customer k ON k.id = r.{owner} AND k.change_no IS NOT NULL
              JOIN channel h ON h.company_id = k.company_id
              JOIN channel_database b ON b.channel_id = h.id""",
    )
