"""Quarantine: rows that HQ has taken over but cannot use, kept as they came, many at a time."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from psycopg2 import sql

from stores.channeldb.exchange.protocol import GUID_FORM, Unreadable
from stores.hqdb.retry import bisect_rows
from stores.hqdb.sql import fetch, fetch_one, run_sql
from stores.models import ChannelDatabase, UploadSession
from stores.pipeline.events.kinds import EVENT_COLUMNS, StagedTable
from stores.pipeline.events.payloads import encode, to_json

# What a column may hold whose form is broken, by the reason's code.
FORM_WORDS = {
    "key_missing": "a GUID",
    "guid_format": "a GUID of 36 characters in lower case",
    "encoding": "text in UTF-8 without zero bytes",
    "time_format": "a time such as 2026-03-01T10:00:00+01:00",
    "date_format": "a date such as 2026-03-01",
}

# A row stands there once, with the first thing that is wrong with it.
CREATE_REJECTED = """CREATE TEMP TABLE rejected (
    replication_counter bigint PRIMARY KEY, reason text, field text, rule text) ON COMMIT DROP"""
CREATE_QUARANTINED = """CREATE TEMP TABLE to_quarantine (
    row_key text, event_id uuid, async_account uuid, account_number text,
    reason text, field text, rule text, raw bytea) ON COMMIT DROP"""


@dataclass(frozen=True)
class UploadBatch:
    """Where rows come from: a channel database as it was in one generation, in one session.

    `accounts_of` asks the channel, while it is open, which accounts it knows of some GUIDs.
    `unread` are values of rows that no column of HQ can hold, by counter and column.
    """

    database: ChannelDatabase
    session: UploadSession | None
    generation: int
    accounts_of: Callable[[Sequence[str]], dict[str, tuple[str, str]]] | None = None
    unread: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class StagingCounts:
    """What became of rows: staged, staged without payload, new in quarantine.

    `incomplete` are the counters of those that stay in the channel for now, `refused` of those
    that stay because even quarantine refuses them, with what the database said.
    """

    staged: int = 0
    erased: int = 0
    quarantined: int = 0
    incomplete: tuple[int, ...] = ()
    refused: Mapping[int, str] = field(default_factory=dict)

    def __add__(self, other: "StagingCounts") -> "StagingCounts":
        return StagingCounts(
            self.staged + other.staged,
            self.erased + other.erased,
            self.quarantined + other.quarantined,
            self.incomplete + other.incomplete,
            {**self.refused, **other.refused},
        )


def reject_rows(query: sql.Composable, values: Mapping[str, Any] | Sequence[Any] = ()) -> int:
    """Add to table rejected what a query finds; a row that stands there keeps what is said of it.

    The query gives counter, reason, field and what the field may hold. Returns how many were added.
    """
    return run_sql(
        sql.SQL(
            """INSERT INTO rejected (replication_counter, reason, field, rule)
               {} ON CONFLICT DO NOTHING"""
        ).format(query),
        values,
    )


def reject_refused(refused: Mapping[int, str]) -> int:
    """Add the rows that the database refused, by counter, to table rejected. Returns how many."""
    return reject_rows(
        sql.SQL(
            """SELECT counter, 'refused', '', message
                 FROM unnest(%s::bigint[], %s::text[]) AS refused (counter, message)"""
        ),
        [list(refused), list(refused.values())],
    )


def quarantine_rejected(batch: UploadBatch, kind: StagedTable) -> StagingCounts:
    """Move the rows of incoming that table rejected names to quarantine."""
    run_sql(CREATE_QUARANTINED)
    run_sql(
        sql.SQL(
            """INSERT INTO to_quarantine
               SELECT i.replication_counter::text, i.event_id, i.async_account, i.account_number,
                      b.reason, b.field, b.rule,
                      convert_to((jsonb_build_object({row}) || coalesce(
                          %s::jsonb -> replication_counter::text, '{{}}'))::text, 'UTF8')
                 FROM rejected b JOIN incoming i USING (replication_counter)"""
        ).format(row=as_object(kind)),
        [json.dumps(batch.unread)],
    )
    drop_rejected()
    return insert_quarantined(batch, kind)


def drop_rejected() -> None:
    """Take the rows that table rejected names out of incoming; their names stay."""
    run_sql(
        """DELETE FROM incoming i USING rejected b
            WHERE b.replication_counter = i.replication_counter"""
    )


def as_object(kind: StagedTable) -> sql.Composable:
    """Name and text of each column: no driver could read them all, dates beyond 9999 for one."""
    return sql.SQL(", ").join(
        sql.SQL("{}, {}::text").format(sql.Literal(column), sql.Identifier("i", column))
        for column in kind.sent_columns
    )


def quarantine_unreadable(
    batch: UploadBatch, kind: StagedTable, rows: Sequence[Unreadable]
) -> StagingCounts:
    """Quarantine rows whose form no table of HQ can hold."""
    if not rows:
        return StagingCounts()
    run_sql(CREATE_QUARANTINED)
    columns = zip(
        *(quarantined_row(kind, row) for row in without_erased_data(kind, rows)), strict=True
    )
    run_sql(
        """INSERT INTO to_quarantine
           SELECT * FROM unnest(%s::text[], %s::uuid[], %s::uuid[], %s::text[],
                                %s::text[], %s::text[], %s::text[], %s::bytea[])""",
        list(map(list, columns)),
    )
    return insert_quarantined(batch, kind)


def quarantined_row(kind: StagedTable, row: Unreadable) -> tuple[Any, ...]:
    values = dict(zip(kind.sent_columns, row.values, strict=True))
    return (
        str(row.counter),
        canonical_id(values["event_id"]),
        canonical_id(values["async_account"]),
        clean_text(values["account_number"]),
        row.reason,
        row.field,
        row.rule or FORM_WORDS.get(row.reason, ""),
        encode(kind.sent_columns, row.values, row.parts),
    )


def without_erased_data(kind: StagedTable, rows: Sequence[Unreadable]) -> list[Unreadable]:
    """The rows; of people whose data were erased only what every event has."""
    place = kind.sent_columns.index("async_account")
    guids = [guid for row in rows if (guid := canonical_id(row.values[place]))]
    gone = {
        str(guid)
        for (guid,) in fetch(
            """SELECT m.async_account FROM guid_map m JOIN customer k ON k.id = m.customer_id
                WHERE k.state = 'erased' AND m.async_account = ANY(%s::uuid[])""",
            [guids],
        )
    }
    kept = len(EVENT_COLUMNS)
    return [
        row
        if canonical_id(row.values[place]) not in gone
        else Unreadable(
            row.counter,
            row.reason,
            row.field,
            (*row.values[:kept], *(None for _ in row.values[kept:])),
        )
        for row in rows
    ]


def insert_quarantined(batch: UploadBatch, kind: StagedTable) -> StagingCounts:
    """Write table to_quarantine into quarantine; what is there already was seen once more.

    What quarantine refuses too is left in the channel. Whatever else is wrong with a row, an id
    that HQ holds with other content comes first: the event that came first stays.
    """
    run_sql(
        sql.SQL(
            """UPDATE to_quarantine a SET reason = 'event_conflict', field = 'event_id',
                                  rule = 'an id of its own'
                 FROM {} held WHERE held.event_id = a.event_id"""
        ).format(sql.Identifier(kind.event))
    )
    new, refused = bisect_rows(partial(insert_rows, batch, kind), row_keys)
    run_sql("DROP TABLE to_quarantine")
    return StagingCounts(
        quarantined=sum(new), refused={int(key): refusal for key, refusal in refused.items()}
    )


def row_keys() -> list[str]:
    return [key for (key,) in fetch("SELECT row_key FROM to_quarantine ORDER BY row_key::bigint")]


def insert_rows(batch: UploadBatch, kind: StagedTable, keys: Sequence[str] | None) -> int:
    """Write rows of table to_quarantine, or only these. Returns how many are new."""
    (new,) = fetch_one(
        """WITH kept AS (
             INSERT INTO quarantine AS known (database_id, "table", row_key, generation, event_id,
                    async_account, account_number, payload_hash, reason, field, rule, raw,
                    session_id)
             SELECT %(database)s, %(table)s, row_key, %(generation)s, event_id, async_account,
                    CASE WHEN char_length(account_number) <= 20 THEN account_number ELSE '' END,
                    sha256(raw), reason, field, rule, raw, %(session)s FROM to_quarantine
              WHERE %(keys)s::text[] IS NULL OR row_key = ANY(%(keys)s::text[])
                 ON CONFLICT (database_id, "table", row_key, payload_hash)
                 DO UPDATE SET last_seen_at = now(), attempts = known.attempts + 1
             RETURNING xmax = 0 AS is_new)
           SELECT count(*) FROM kept WHERE is_new""",
        {
            "database": batch.database.pk,
            "table": kind.event,
            "generation": batch.generation,
            "session": str(batch.session.pk) if batch.session else None,
            "keys": None if keys is None else list(keys),
        },
    )
    return int(new)


def canonical_id(value: Any) -> str | None:
    """The text of a well-formed id, or None."""
    return value if isinstance(value, str) and GUID_FORM.fullmatch(value) else None


def clean_text(value: Any) -> str | None:
    """A text that PostgreSQL can hold, or None."""
    return value if isinstance(value, str) and to_json(value) == value else None
