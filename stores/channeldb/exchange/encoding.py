"""Rows of a channel whose database is not in UTF-8 and holds bytes that have no place in it.

A document has one fate: bytes that are no text in one of its lines or payments set it aside whole.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from psycopg2 import sql

from stores.channeldb.exchange.copy import columns_of, copy_from_channel, qualified
from stores.channeldb.exchange.protocol import EventBatch, EventTable, Unreadable
from stores.hqdb.sql import identifiers

# Encodings of databases that Python knows by another name; in SQL_ASCII the till decides.
PYTHON_NAMES = {"SQL_ASCII": "utf-8", "WIN1250": "cp1250", "WIN1252": "cp1252"}
Values = tuple[Any, ...]


def read_around_undecodable(cursor: Any, source: EventTable, waiting: sql.Composable) -> EventBatch:
    """The rows that the server can turn into UTF-8, and the others as the bytes they are."""
    parts, broken = read_part_rows(cursor, source, waiting)
    good, bad = [], []
    here = sql.SQL("(SELECT * ") + waiting + sql.SQL(") t")
    for counter, values, wrong in read_bytes(cursor, source, here):
        field = wrong or broken.get(counter)
        if field is None:
            good.append(counter)
        else:
            bad.append(Unreadable(counter, "encoding", field, values, parts=parts[counter]))
    chosen = sql.SQL("FROM {} WHERE replication_counter = ANY({}::bigint[])").format(
        qualified(source.table), sql.Literal(good)
    )
    rows, data = copy_from_channel(
        cursor,
        sql.SQL("SELECT {} {} ORDER BY replication_counter").format(columns_of(source), chosen),
    )
    _, ids = copy_from_channel(cursor, sql.SQL("SELECT event_id ") + waiting)
    last = max([*good, *(row.counter for row in bad)])
    travelling = copy_parts(cursor, source, chosen)
    return EventBatch(source.table, rows, data, True, last, ids, bad, parts=travelling)


def copy_parts(cursor: Any, source: EventTable, chosen: sql.Composable) -> dict[str, bytes]:
    """COPY data of the rows that travel with the chosen ones, by table. Errors: BatchTooLarge."""
    return {
        part.table: copy_from_channel(
            cursor,
            sql.SQL("SELECT {} FROM {}").format(
                identifiers(part.columns, of="t"), parts_of(part, chosen)
            ),
        )[1]
        for part in source.parts
    }


def parts_of(part: EventTable, chosen: sql.Composable) -> sql.Composable:
    """The rows t of a table that travel with the chosen documents d.

    OFFSET 0 has them looked up for each document, whatever the statistics say; else the server may
    read the whole table for each.
    """
    return sql.SQL(
        """(SELECT replication_counter, transaction_id {}) d CROSS JOIN LATERAL
           (SELECT * FROM {} p WHERE p.transaction_id = d.transaction_id OFFSET 0) t"""
    ).format(chosen, qualified(part.table))


def read_part_rows(
    cursor: Any, source: EventTable, waiting: sql.Composable
) -> tuple[dict[int, dict[str, list[Values]]], dict[int, str]]:
    """The rows that travel with those waiting, by counter and table, and what is no text in them.

    Shape: counter -> table -> rows; counter -> the first such field.
    """
    parts: dict[int, dict[str, list[Values]]] = defaultdict(dict)
    broken: dict[int, str] = {}
    for part in source.parts:
        for counter, values, wrong in read_bytes(cursor, part, parts_of(part, waiting)):
            parts[counter].setdefault(part.table, []).append(values)
            if wrong:
                broken.setdefault(counter, wrong)
    return parts, broken


def read_bytes(
    cursor: Any, source: EventTable, here: sql.Composable
) -> Iterator[tuple[int, Values, str | None]]:
    """Counter and values of rows of table t, and the first field that is no text, if one is not."""
    hexadecimal = sql.SQL(", ").join(
        sql.SQL("NULL")
        if column in source.lacking
        else sql.SQL("encode(convert_to({}::text, getdatabaseencoding()), 'hex')").format(
            sql.Identifier("t", column)
        )
        for column in source.columns
    )
    order = "2, t.line_number" if "line_number" in source.columns else "2"
    cursor.execute(
        sql.SQL("SELECT getdatabaseencoding(), replication_counter, {} FROM {} ORDER BY ").format(
            hexadecimal, here
        )
        + sql.SQL(order)
    )
    for encoding, counter, *texts in cursor.fetchall():
        values, wrong = decoded(texts, PYTHON_NAMES.get(encoding, encoding))
        yield counter, tuple(values), None if wrong is None else source.columns[wrong]


def decoded(texts: Sequence[str | None], encoding: str) -> tuple[list[Any], int | None]:
    """Values from their bytes in hexadecimal, and the place of the first that is no text."""
    values: list[Any] = []
    wrong = None
    for place, text in enumerate(texts):
        data = None if text is None else bytes.fromhex(text)
        try:
            values.append(None if data is None else data.decode(encoding))
        except (UnicodeDecodeError, LookupError):
            values.append(data)
            wrong = place if wrong is None else wrong
    return values, wrong
