"""Quarantine rows that HQ cannot use, as they were sent and with the reason.

A row is *rejected* if it breaks a rule or the database refuses it: a work table names it by its
replication counter. It is *unreadable* if no table of HQ can hold its values. Both kinds are
gathered in a second work table in the form of quarantine, and inserted from there.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from psycopg2 import sql

from stores.channeldb.exchange.protocol import GUID_FORM, Unreadable
from stores.channeldb.schema.tables import NOT_COMPARED
from stores.hqdb.files import load
from stores.hqdb.retry import bisect_rows
from stores.hqdb.sql import fetch_value, fetch_values, listed, run_sql
from stores.hqdb.work_table import WorkTable, empty_table
from stores.models import ChannelDatabase, UploadSession
from stores.models.staging import Origin
from stores.pipeline.events.kinds import EVENT_COLUMNS, StagedTable
from stores.pipeline.events.payloads import encode, to_json

DROP_QUARANTINED = load(__file__, "drop_quarantined")
QUARANTINE_REJECTED = load(__file__, "quarantine_rejected")
# What a column must hold, by the code of the reason why a row is unreadable.
EXPECTED_FORMS = {
    "key_missing": "a GUID",
    "guid_format": "a GUID of 36 characters in lower case",
    "encoding": "text in UTF-8 without zero bytes",
    "time_format": "a time such as 2026-03-01T10:00:00+01:00",
    "date_format": "a date such as 2026-03-01",
}
# A row is rejected once, for the first reason.
REJECTED_COLUMNS = "replication_counter bigint PRIMARY KEY, reason text, field text, rule text"
TO_QUARANTINE_COLUMNS = """row_key text, event_id uuid, async_account uuid, account_number text,
    reason text, field text, rule text, raw bytea"""


@dataclass(frozen=True)
class UploadSource:
    """Where rows come from, and into which batch they go."""

    database: ChannelDatabase
    session: UploadSession | None
    generation: int
    # The batch in which events are staged. Sales have none.
    batch: int | None = None
    # Asks the channel, while it is open, for the company and account that it has of some GUIDs.
    accounts_of: Callable[[Sequence[str]], dict[str, tuple[str, str]]] | None = None
    # The values that no column of HQ can hold, by counter and column.
    unread: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    # Who sent them: a till into its database, or to the real-time service.
    origin: str = Origin.TILL


@dataclass(frozen=True)
class StagingCounts:
    """What became of rows."""

    staged: int = 0
    # Staged without their data, because the customer was erased.
    erased: int = 0
    # New in quarantine.
    quarantined: int = 0
    # Counters of the rows that stay in the channel until their lines have arrived.
    incomplete: tuple[int, ...] = ()
    # The rows that even quarantine refuses, by counter, with the database's message.
    refused: Mapping[int, str] = field(default_factory=dict)

    def __add__(self, other: "StagingCounts") -> "StagingCounts":
        return StagingCounts(
            self.staged + other.staged,
            self.erased + other.erased,
            self.quarantined + other.quarantined,
            self.incomplete + other.incomplete,
            {**self.refused, **other.refused},
        )


def rejected_rows() -> AbstractContextManager[WorkTable]:
    """Make an empty work table for rejected rows."""
    return empty_table("rejected", REJECTED_COLUMNS)


def rows_to_quarantine() -> AbstractContextManager[WorkTable]:
    return empty_table("to_quarantine", TO_QUARANTINE_COLUMNS)


def reject_refused(refused: Mapping[int, str], rejected: WorkTable) -> int:
    """Reject the rows that the database refused, by counter. Returns how many.

    A row that is rejected already keeps its reason.
    """
    return run_sql(
        """INSERT INTO {rejected} (replication_counter, reason, field, rule)
           SELECT counter, 'refused', '', message
             FROM unnest(%s::bigint[], %s::text[]) AS refused (counter, message)
               ON CONFLICT DO NOTHING""",
        [list(refused), list(refused.values())],
        rejected=rejected,
    )


def quarantine_rejected(
    source: UploadSource, kind: StagedTable, incoming: WorkTable, rejected: WorkTable
) -> StagingCounts:
    """Move the rejected rows from the incoming ones to quarantine."""
    with rows_to_quarantine() as rows:
        gather = gather_statement(kind, incoming, rejected, rows)
        run_sql(gather, {"unread": json.dumps(source.unread)})
        drop_rejected(incoming, rejected)
        return insert_quarantined(source, kind, rows)


def gather_statement(
    kind: StagedTable, incoming: WorkTable, rejected: WorkTable, rows: WorkTable
) -> sql.Composed:
    return QUARANTINE_REJECTED.format(
        to_quarantine=rows,
        rejected=rejected,
        incoming=incoming,
        row=names_and_texts(kind, "incoming"),
    )


def drop_rejected(incoming: WorkTable, rejected: WorkTable) -> None:
    """Delete the rejected rows from the incoming ones."""
    run_sql(
        """DELETE FROM {incoming} incoming USING {rejected} rejected
            WHERE rejected.replication_counter = incoming.replication_counter""",
        incoming=incoming,
        rejected=rejected,
    )


def names_and_texts(kind: StagedTable, row: str) -> sql.Composed:
    """Return name and text of each column of a row, for jsonb_build_object()."""
    return listed(
        sql.SQL("{}, {}::text").format(sql.Literal(column), sql.Identifier(row, column))
        for column in kind.sent_columns
    )


def quarantine_unreadable(
    source: UploadSource, kind: StagedTable, rows: Sequence[Unreadable]
) -> StagingCounts:
    """Quarantine rows whose values no table of HQ can hold."""
    if not rows:
        return StagingCounts()
    quarantined = [quarantined_row(kind, row) for row in without_erased_data(kind, rows)]
    columns = [list(column) for column in zip(*quarantined, strict=True)]
    with rows_to_quarantine() as gathered:
        run_sql(
            """INSERT INTO {gathered}
               SELECT * FROM unnest(%s::text[], %s::uuid[], %s::uuid[], %s::text[],
                                    %s::text[], %s::text[], %s::text[], %s::bytea[])""",
            columns,
            gathered=gathered,
        )
        return insert_quarantined(source, kind, gathered)


def quarantined_row(kind: StagedTable, row: Unreadable) -> tuple[Any, ...]:
    """Return the values of TO_QUARANTINE_COLUMNS for a row."""
    values = dict(zip(kind.sent_columns, row.values, strict=True))
    return (
        str(row.counter),
        canonical_id(values["event_id"]),
        canonical_id(values["async_account"]),
        clean_text(values["account_number"]),
        row.reason,
        row.field,
        row.rule or EXPECTED_FORMS.get(row.reason, ""),
        encode(kind.sent_columns, row.values, row.parts),
    )


def without_erased_data(kind: StagedTable, rows: Sequence[Unreadable]) -> list[Unreadable]:
    """Return the rows. Those of erased customers keep only the columns that every event has."""
    position = kind.sent_columns.index("async_account")
    guids = [guid for row in rows if (guid := canonical_id(row.values[position]))]
    erased = set(
        fetch_values(
            """SELECT guid.async_account::text
                 FROM guid_map guid JOIN customer ON customer.id = guid.customer_id
                WHERE customer.state = 'erased' AND guid.async_account = ANY(%s::uuid[])""",
            [guids],
        )
    )
    return [
        row
        if canonical_id(row.values[position]) not in erased
        else Unreadable(row.counter, row.reason, row.field, event_values(kind, row))
        for row in rows
    ]


def event_values(kind: StagedTable, row: Unreadable) -> tuple[Any, ...]:
    """Return the values of a row, with None in the columns that not every event has."""
    return tuple(
        value if column in EVENT_COLUMNS else None
        for column, value in zip(kind.sent_columns, row.values, strict=True)
    )


def insert_quarantined(source: UploadSource, kind: StagedTable, rows: WorkTable) -> StagingCounts:
    """Insert the rows into quarantine, and count those that are there already once more.

    If HQ has staged another event of the same id, this becomes the reason, whatever it was before.
    Rows that another database of the channel has sent are left out: its tills have merged them from
    a register. Rows that the database refuses stay in the channel.
    """
    run_sql(
        drop_statement(rows),
        {
            "table": kind.event,
            "database": source.database.pk,
            "channel": source.database.channel_id,
        },
    )
    run_sql(
        """UPDATE {rows} row
              SET reason = 'event_conflict', field = 'event_id', rule = 'an id of its own'
             FROM {event} held WHERE held.event_id = row.event_id""",
        rows=rows,
        **kind.names,
    )
    new, refused = bisect_rows(partial(insert_rows, source, kind, rows), partial(row_keys, rows))
    return StagingCounts(
        quarantined=sum(new), refused={int(key): refusal for key, refusal in refused.items()}
    )


def drop_statement(rows: WorkTable) -> sql.Composed:
    return DROP_QUARANTINED.format(
        to_quarantine=rows,
        known=row_content(quarantined_json("known")),
        sent=row_content(quarantined_json("row")),
    )


def row_content(row: sql.Composable, *, without: Sequence[str] = ()) -> sql.Composable:
    """Return SQL for what a row says, given as JSON: the same in each database that has it.

    They count it differently or lack a later column, and SQLite keeps amounts as a till wrote them.
    """
    return sql.SQL(
        r"""regexp_replace(({row} - {counted})::text, '(\.\d*[1-9])0+"|\.0+"', '\1"', 'g')"""
    ).format(row=row, counted=sql.Literal([*NOT_COMPARED, *without]))


def quarantined_json(alias: str) -> sql.Composable:
    return sql.SQL("convert_from({}, 'UTF8')::jsonb").format(sql.Identifier(alias, "raw"))


def row_keys(rows: WorkTable) -> list[str]:
    return fetch_values("SELECT row_key FROM {rows} ORDER BY row_key::bigint", rows=rows)


def insert_rows(
    source: UploadSource, kind: StagedTable, rows: WorkTable, keys: Sequence[str] | None
) -> int:
    """Insert all rows into quarantine, or only those of some keys. Returns how many are new."""
    new = fetch_value(
        """WITH kept AS (
             INSERT INTO quarantine AS known (database_id, "table", row_key, generation,
                    event_id, async_account, account_number, payload_hash, reason, field, rule,
                    raw, session_id)
             SELECT %(database)s, %(table)s, row_key, %(generation)s, event_id, async_account,
                    CASE WHEN char_length(account_number) <= 20 THEN account_number ELSE '' END,
                    sha256(raw), reason, field, rule, raw, %(session)s FROM {rows}
              WHERE %(keys)s::text[] IS NULL OR row_key = ANY(%(keys)s::text[])
                 ON CONFLICT (database_id, "table", row_key, payload_hash)
                 DO UPDATE SET last_seen_at = now(), attempts = known.attempts + 1
             RETURNING xmax = 0 AS is_new)
           SELECT count(*) FROM kept WHERE is_new""",
        {
            "database": source.database.pk,
            "table": kind.event,
            "generation": source.generation,
            "session": str(source.session.pk) if source.session else None,
            "keys": None if keys is None else list(keys),
        },
        rows=rows,
    )
    return int(new)


def canonical_id(value: Any) -> str | None:
    """Return a well-formed GUID, or None."""
    return value if isinstance(value, str) and GUID_FORM.fullmatch(value) else None


def clean_text(value: Any) -> str | None:
    """Return a text that PostgreSQL can hold, or None."""
    return value if isinstance(value, str) and to_json(value) == value else None
