"""P-0001: channel -> staging.

HQ commits the events it could use and those it could not, then the channel may forget exactly
these. A crash in between repeats one batch, and the repetition finds every event known.
"""

import base64
import hashlib
import json
from collections.abc import Iterator, Sequence
from math import isfinite
from typing import Any

from django.db.models import F
from django.db.models.functions import Now
from psycopg2 import sql

from stores.channeldb.connection import ChannelError
from stores.channeldb.visit import GUID, Events, Source, Unreadable, Visit, visit
from stores.models import Channel, RunStep, UploadSession
from stores.models.exchange import UploadStatus
from stores.models.run import RunCancelled
from stores.pipeline.bulk import EVENTS, copy_in, fetch, fetch_one, names, run_sql
from stores.pipeline.kinds import CUSTOMER, KINDS, Kind
from stores.pipeline.rules import first_broken, parameters, rules_for

SOURCES = [Source(kind.event, kind.sent, tuple(map(kind.type_of, kind.sent))) for kind in KINDS]


def upload_events(step: RunStep) -> None:
    """Stage the channel database's unacknowledged events, oldest first.

    Effects: staging, quarantine, upload session and counts in HQ, a batch a transaction;
    acknowledged_at in the channel after each. Errors: ChannelError when the channel cannot be
    visited any more; what was committed stays.
    """
    session: UploadSession | None = None
    try:
        with visit(step.database) as channel:
            for batch in batches(channel, forget=not step.is_dry):
                with step.chunk():
                    session = session or open_session(step)
                    for events in batch:
                        stage(step, session, events)
    except Exception as error:
        if session:
            end_badly(session, error)
        raise
    if session:
        UploadSession.objects.filter(pk=session.pk).update(
            status=UploadStatus.APPLIED, applied_at=Now()
        )


def batches(channel: Visit, *, forget: bool) -> Iterator[list[Events]]:
    """Read batch after batch; when the caller comes back, the batch is committed in HQ.

    Effects: the channel marks each batch as held, unless `forget` is false.
    """
    beyond: dict[str, int] = {}
    while True:
        read = channel.read_events(SOURCES, limit=EVENTS, beyond=beyond)
        batch = [events for events in read if events.total]
        if not batch:
            return
        yield batch
        if forget:
            channel.acknowledge(batch)
        else:
            beyond |= {events.table: events.last_counter for events in batch}


def open_session(step: RunStep) -> UploadSession:
    """The record of this visit; made only once there is something to carry."""
    return UploadSession.objects.create(
        run=step.run, database=step.its_database, status=UploadStatus.AVAILABLE
    )


def end_badly(session: UploadSession, error: Exception) -> None:
    """Say at the session how far it came: HQ has rows that the channel may not know of, or none."""
    present = UploadSession.objects.get(pk=session.pk)
    if isinstance(error, RunCancelled):
        present.status = UploadStatus.CANCELED
    elif present.status == UploadStatus.UPLOADED:
        present.status = UploadStatus.APPLY_FAILED
    else:
        present.status = UploadStatus.UPLOAD_FAILED
    # A driver's own text may quote a row.
    present.message = str(error)[:300] if isinstance(error, ChannelError) else ""
    present.save(update_fields=["status", "message"])


def stage(step: RunStep, session: UploadSession, events: Events) -> None:
    """Put one table's rows into staging, the unusable ones into quarantine, and count them."""
    kind = next(kind for kind in KINDS if kind.event == events.table)
    quarantined = sum(set_aside(session, kind, row) for row in events.unreadable)
    staged = 0
    if events.rows:
        receive(kind, events)
        quarantined += set_aside_broken(session, kind)
        staged, conflicts = insert_staged(session, kind)
        quarantined += conflicts
        run_sql(sql.SQL("DROP TABLE incoming"))
    unchanged = events.total - staged - quarantined
    UploadSession.objects.filter(pk=session.pk).update(
        status=UploadStatus.UPLOADED,
        parts=F("parts") + 1,
        size_bytes=F("size_bytes") + len(events.data),
        read=F("read") + events.total,
        staged=F("staged") + staged,
        unchanged=F("unchanged") + unchanged,
        quarantined=F("quarantined") + quarantined,
    )
    step.add(read=events.total, staged=staged, unchanged=unchanged, quarantined=quarantined)


def receive(kind: Kind, events: Events) -> None:
    """Copy the rows into table incoming, whose texts have no limit yet."""
    columns = sql.SQL(", ").join(
        sql.SQL("{} {}").format(sql.Identifier(column), sql.SQL(kind.type_of(column)))
        for column in kind.sent
    )
    run_sql(sql.SQL("CREATE TEMP TABLE incoming ({}) ON COMMIT DROP").format(columns))
    copy_in("incoming", kind.sent, events.data, binary=events.binary)


def set_aside_broken(session: UploadSession, kind: Kind) -> int:
    """Move rows of incoming that break a rule to quarantine. Returns how many were new there."""
    channel, rules = session.database.channel, rules_for(kind)
    broken = fetch(
        sql.SQL(
            """SELECT replication_counter, place FROM incoming, LATERAL (SELECT {} AS place) rule
                WHERE place IS NOT NULL"""
        ).format(first_broken(kind)),
        parameters(channel.company_id),
    )
    found = {counter: (rules[place].code, rules[place].field) for counter, place in broken}
    for counter in foreign_accounts(channel):
        found.setdefault(counter, ("company_mismatch", "account_number"))
    for counter in foreign_guids(channel) if kind is CUSTOMER else []:
        found.setdefault(counter, ("guid_conflict", "async_account"))
    kept = 0
    for counter, *values in as_texts(kind, list(found)):
        kept += set_aside(session, kind, Unreadable(counter, *found[counter], tuple(values)))
    if found:
        run_sql("DELETE FROM incoming WHERE replication_counter = ANY(%s)", [list(found)])
    return kept


def as_texts(kind: Kind, counters: Sequence[int]) -> list[tuple[Any, ...]]:
    """Rows of incoming: the counter, then all columns as text, because no driver reads them all."""
    columns = sql.SQL(", ").join(
        sql.SQL("{}::text").format(sql.Identifier(column)) for column in kind.sent
    )
    return fetch(
        sql.SQL(
            """SELECT replication_counter, {} FROM incoming WHERE replication_counter = ANY(%s)
                ORDER BY 1"""
        ).format(columns),
        [list(counters)],
    )


def foreign_accounts(channel: Channel) -> list[int]:
    """Counters of incoming rows whose account is another company's, or none of this one's shape.

    An account of its shape that HQ does not know waits: HQ may have been set back in time.
    """
    found = fetch(
        """SELECT i.replication_counter FROM incoming i
            WHERE i.account_number IS NOT NULL
              AND NOT EXISTS (SELECT FROM customer c WHERE c.company_id = %(company)s
                                 AND c.account_number = i.account_number)
              AND (EXISTS (SELECT FROM customer c WHERE c.account_number = i.account_number)
                OR NOT EXISTS (SELECT FROM number_sequence q WHERE q.company_id = %(company)s
                                  AND account_place(q.format, i.account_number) IS NOT NULL))""",
        {"company": channel.company_id},
    )
    return [counter for (counter,) in found]


def foreign_guids(channel: Channel) -> list[int]:
    """Counters of incoming rows whose GUID another channel made and never shared with this one."""
    found = fetch(
        """SELECT i.replication_counter FROM incoming i
            WHERE i.async_account IS NOT NULL
              AND (EXISTS (SELECT FROM guid_map m
                            WHERE m.async_account = i.async_account AND m.channel_id <> %(channel)s
                              AND NOT EXISTS (SELECT FROM delivery d
                                     JOIN channel_database b ON b.id = d.database_id
                                    WHERE d.customer_id = m.customer_id AND d.delivered_version > 0
                                      AND b.channel_id = %(channel)s))
                OR EXISTS (SELECT FROM async_customer s
                             JOIN channel_database b ON b.id = s.database_id
                            WHERE s.company_id = %(company)s AND s.status IN ('pending', 'failed')
                              AND s.async_account = i.async_account
                              AND b.channel_id <> %(channel)s
                              AND NOT EXISTS (SELECT FROM guid_map m
                                               WHERE m.async_account = s.async_account)))""",
        {"channel": channel.pk, "company": channel.company_id},
    )
    return [counter for (counter,) in found]


def insert_staged(session: UploadSession, kind: Kind) -> tuple[int, int]:
    """Stage the rows of incoming. Returns how many were new, and how many clash with a known id."""
    database = session.database
    values = {
        "database": database.pk,
        "company": database.channel.company_id,
        "generation": database.generation,
        "session": str(session.pk),
    }
    staged = run_sql(
        sql.SQL(
            """INSERT INTO {table} (database_id, company_id, generation, session_id, {columns})
               SELECT %(database)s, %(company)s, %(generation)s, %(session)s, {columns}
                 FROM incoming ORDER BY replication_counter
                   ON CONFLICT (event_id) DO NOTHING"""
        ).format(table=sql.Identifier(kind.event), columns=names(kind.sent)),
        values,
    )
    (left,) = fetch_one("SELECT count(*) FROM incoming")
    return staged, set_aside_conflicts(session, kind) if left > staged else 0


def set_aside_conflicts(session: UploadSession, kind: Kind) -> int:
    """Quarantine rows whose event id HQ holds with other content; equal ones are merely known."""
    content = [column for column in kind.sent if column != "replication_counter"]
    mine, held = names(content, of="i"), names(content, of="s")
    clashing = fetch(
        sql.SQL(
            """SELECT i.replication_counter FROM incoming i JOIN {table} s USING (event_id)
                WHERE s.status <> 'erased' AND ({mine}) IS DISTINCT FROM ({held})"""
        ).format(table=sql.Identifier(kind.event), mine=mine, held=held),
    )
    return sum(
        set_aside(session, kind, Unreadable(counter, "event_conflict", "event_id", tuple(values)))
        for counter, *values in as_texts(kind, [counter for (counter,) in clashing])
    )


def set_aside(session: UploadSession, kind: Kind, row: Unreadable) -> int:
    """Keep one row as it came, with the reason. Returns 1 if it was not kept already."""
    raw = encode(kind.sent, row.values)
    values = dict(zip(kind.sent, row.values, strict=True))
    (is_new,) = fetch_one(
        """INSERT INTO quarantine (database_id, "table", row_key, event_id, async_account,
                                   payload_hash, reason, field, raw, session_id)
           VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
               ON CONFLICT (database_id, "table", row_key, payload_hash)
               DO UPDATE SET last_seen_at = now(), attempts = quarantine.attempts + 1
        RETURNING (xmax = 0)::int""",
        [
            session.database_id,
            kind.event,
            str(row.counter),
            canonical(values["event_id"]),
            canonical(values["async_account"]),
            hashlib.sha256(raw).digest(),
            row.reason,
            row.field,
            raw,
            str(session.pk),
        ],
    )
    return int(is_new)


def canonical(value: Any) -> str | None:
    """The text of a well-formed id, or None."""
    return value if isinstance(value, str) and GUID.fullmatch(value) else None


def encode(columns: Sequence[str], values: Sequence[Any]) -> bytes:
    """A row as JSON from which every byte can be had back.

    Shape: column -> value; numbers, texts and null as they are, bytes and texts that are no
    UTF-8 or hold a NUL as {"base64": …}, everything else as text.
    """
    return json.dumps(dict(zip(columns, map(plain, values), strict=True))).encode()


def plain(value: Any) -> Any:
    """One value as JSON holds it."""
    if isinstance(value, str):
        data = value.encode("utf-8", "surrogateescape")
        # PostgreSQL reads no JSON with a NUL or an infinite number in it.
        is_text = "\0" not in value and data.decode("utf-8", "replace") == value
        return value if is_text else in_base64(data)
    if isinstance(value, (bytes, memoryview)):
        return in_base64(bytes(value))
    is_number = isinstance(value, (bool, int)) or (isinstance(value, float) and isfinite(value))
    return value if value is None or is_number else str(value)


def in_base64(data: bytes) -> dict[str, str]:
    return {"base64": base64.b64encode(data).decode()}
