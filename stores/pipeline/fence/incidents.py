"""What HQ does about a channel database that is not as HQ left it.

It opens an incident, which people see, and ends the visit. Only a database that was restored from a
backup is *accepted*: HQ begins a new generation of it and goes on. `known` is what HQ knows of the
database, `state` is what the database says of itself.
"""

from typing import Any
from uuid import uuid4

from psycopg2 import sql

from stores.channeldb.exchange.protocol import ChannelState, Contradiction, Visit
from stores.hqdb.files import load
from stores.hqdb.sql import copy_in, fetch, fetch_value, run_sql
from stores.hqdb.work_table import WorkTable, empty_table
from stores.messages.message import Message
from stores.models import ChannelDatabase, DistributedSettings, Incident
from stores.models.incident import IncidentKind
from stores.pipeline.events.document_tables import DOCUMENT_KEY, HEADER
from stores.pipeline.events.kinds import StagedTable
from stores.pipeline.events.tables import STAGED_TABLES
from stores.pipeline.fence.decision import (
    KnownState,
    find_mismatch,
    find_mismatch_at_first_visit,
    numbers_ahead,
)

MISSING_EVENTS = load(__file__, "missing_events")
PRESENT_COLUMNS = "event_id uuid"
# How many event ids of each table an incident lists.
MAX_REPORTED_EVENTS = 100
MISMATCH_MESSAGES = {
    IncidentKind.WRONG_DATABASE: Message("wrong_database"),
    IncidentKind.CHANNEL_FORKED: Message("channel_forked"),
    IncidentKind.HQ_BEHIND: Message("hq_behind"),
    IncidentKind.CHANNEL_RESTORED: Message("channel_restored"),
}
NO_IDENTITY = Message("no_identity")
RESTORED_TWICE = Message("restored_twice")


def handle_mismatch(
    database: ChannelDatabase, known: KnownState, state: ChannelState | None, channel: Visit
) -> Message | None:
    """Report what is wrong, and accept a restored database.

    Returns the message with which the visit ends, or None if it goes on. Effects: an incident, HQ's
    row of the database; in the caller's transaction.
    """
    if state is None:
        return report_mismatch(database, IncidentKind.WRONG_DATABASE, NO_IDENTITY, {})
    kind = find_mismatch(known, state)
    if kind is None:
        return None
    detail = both_sides(known, state)
    if kind != IncidentKind.CHANNEL_RESTORED:
        return report_mismatch(database, kind, mismatch_message(kind, known, state), detail)
    if was_restored_recently(database):
        return report_mismatch(database, IncidentKind.CHANNEL_FORKED, RESTORED_TWICE, detail)
    detail["forgotten"] = missing_events(database, channel)
    accept(database, state)
    send_exceptions_again(database)
    report_mismatch(database, kind, MISMATCH_MESSAGES[kind], detail)
    return None


def mismatch_message(kind: IncidentKind, known: KnownState, state: ChannelState) -> Message:
    """Return what is wrong, with the first three numbers that HQ does not know."""
    ahead = numbers_ahead(known, state) if kind == IncidentKind.HQ_BEHIND else []
    seen = Message("numbers_seen", numbers=ahead[:3]) if ahead else Message()
    return MISMATCH_MESSAGES[kind] + seen


def report_mismatch(
    database: ChannelDatabase, kind: IncidentKind, problem: Message, detail: dict[str, Any]
) -> Message:
    """Open an incident, or note that it was seen again. Returns its message."""
    message = about_channel(database, problem)
    Incident.objects.report(kind, message, database=database, detail=detail)
    return message


def about_channel(database: ChannelDatabase, problem: Message) -> Message:
    return Message("channel_reports", channel=database.label, problem=problem)


def both_sides(known: KnownState, state: ChannelState) -> dict[str, Any]:
    """Return what the channel and HQ say, for the details of an incident."""
    return {
        "channel": {
            "database_id": str(state.database_id),
            "epoch": state.token.epoch,
            "nonce": str(state.token.nonce),
            "account_high": state.account_high,
            "issued": state.issued,
            "positions": state.positions,
        },
        "headquarters": {
            "database_id": str(known.database_id),
            "epoch": known.confirmed_epoch,
            "nonce": str(known.confirmed_nonce),
            "next_number": {code: number + 1 for code, number in known.account_high.items()},
            "issued": known.issued,
            "changes": known.positions,
        },
    }


def was_restored_recently(database: ChannelDatabase) -> bool:
    """Return whether the database was restored within the last day, by an incident of any state."""
    was_restored = fetch_value(
        """SELECT EXISTS (SELECT FROM incident WHERE database_id = %s AND kind = %s
                             AND last_seen_at > now() - interval '1 day')""",
        [database.pk, IncidentKind.CHANNEL_RESTORED.value],
    )
    return bool(was_restored)


def accept(database: ChannelDatabase, state: ChannelState) -> None:
    """Take the database as it is, and begin a new generation: its events may repeat old counters.

    Its token counts as confirmed. The next one is intended at once, with a higher epoch than any
    copy can have, so that a crash of this visit does not look like another restore. Which settings
    it holds is not known any more. Effects: HQ's row of the database, in the caller's transaction.
    """
    DistributedSettings.objects.filter(database=database).delete()
    run_sql(
        """UPDATE channel_database
              SET generation = generation + 1, staged = '{}', received_no = 0,
                  position = least(position, %(position)s),
                  intended_epoch = greatest(confirmed_epoch, intended_epoch, %(epoch)s) + 1,
                  intended_nonce = %(next)s,
                  confirmed_epoch = %(epoch)s, confirmed_nonce = %(nonce)s
            WHERE id = %(id)s""",
        {
            "id": database.pk,
            "epoch": state.token.epoch,
            "nonce": str(state.token.nonce),
            "next": str(uuid4()),
            "position": state.positions.get(database.channel.company_id, 0),
        },
    )


def send_exceptions_again(database: ChannelDatabase) -> None:
    """Send a restored database the customers again that it once got as exceptions.

    A download sends the customers that changed after the database's position; an exception is a
    customer that it sends in addition, so the position does not say whether the database still has
    it. Effects: download_exception, in the caller's transaction.
    """
    run_sql(
        """INSERT INTO download_exception (database_id, customer_id, reason, message, tries)
           SELECT DISTINCT sent.database_id, sent.customer_id, 'not_arrived', '[]'::jsonb, 0
             FROM download_exception sent JOIN customer ON customer.id = sent.customer_id
             JOIN channel_database ON channel_database.id = sent.database_id
            WHERE sent.database_id = %s AND sent.settled_at IS NOT NULL
              AND customer.change_no <= channel_database.position
               ON CONFLICT (database_id, customer_id) WHERE settled_at IS NULL DO NOTHING""",
        [database.pk],
    )


def missing_events(database: ChannelDatabase, channel: Visit) -> dict[str, Any]:
    """Return the events of this database that HQ holds, and that are no longer in it.

    Shape: table -> number of events and the first ids; for sales also their numbers, which tills
    may give to other sales now. Events that somebody removed because they were old are included.
    """
    missing = {}
    for table in STAGED_TABLES:
        data, is_binary = channel.event_ids(table.event)
        with empty_table("present", PRESENT_COLUMNS) as present:
            copy_in(present.name, ("event_id",), data, binary=is_binary)
            rows = fetch(
                missing_statement(table, present),
                {"database": database.pk, "listed": MAX_REPORTED_EVENTS},
            )
        if rows:
            total, _, _ = rows[0]
            ids = [str(event_id) for _, event_id, _ in rows]
            missing[table.event] = {"count": total, "first": ids}
        if rows and table is HEADER:
            missing[table.event]["numbers"] = [number for _, _, number in rows]
    return missing


def missing_statement(table: StagedTable, present: WorkTable) -> sql.Composed:
    number = sql.Identifier("event", DOCUMENT_KEY) if table is HEADER else sql.SQL("NULL")
    return MISSING_EVENTS.format(
        present=present, number=number, number_key=sql.Literal(DOCUMENT_KEY), **table.names
    )


def accept_first_contact(
    database: ChannelDatabase, known: KnownState, state: ChannelState
) -> Message | None:
    """Accept a database that HQ visits for the first time, unless something is wrong with it.

    Returns the message with which the visit ends, or None if it goes on.
    """
    others = ChannelDatabase.objects.exclude(pk=database.pk)
    is_registered_twice = others.filter(database_id=state.database_id).exists()
    kind = find_mismatch_at_first_visit(known, state, is_registered_twice=is_registered_twice)
    if kind:
        message = mismatch_message(kind, known, state)
        return report_mismatch(database, kind, message, both_sides(known, state))
    ChannelDatabase.objects.filter(pk=database.pk).update(
        database_id=state.database_id,
        confirmed_epoch=state.token.epoch,
        confirmed_nonce=state.token.nonce,
    )
    return None


def report_contradiction(database: ChannelDatabase, contradiction: Contradiction) -> Message:
    """Report customers whose account in the channel is not the one in HQ. Returns the message."""
    return report_mismatch(
        database,
        IncidentKind.FORGOTTEN_ACCOUNT,
        Message("accounts_contradict"),
        {"table": contradiction.table, "count": contradiction.count, "first": contradiction.first},
    )
