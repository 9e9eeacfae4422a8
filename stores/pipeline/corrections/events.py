"""Events that are made in HQ: edits by people, and corrections of rows that HQ could not use.

They are staged like the events of tills, with a counter of HQ's own and no channel database, so
that the same rules check them and the same statements apply them.
"""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any
from uuid import UUID, uuid4

from psycopg2 import sql

from stores.hqdb.files import load
from stores.hqdb.sql import fetch_value, identifiers, listed, run_sql
from stores.hqdb.work_table import WorkTable, query_table
from stores.models import ChannelDatabase, Company
from stores.pipeline.events.kinds import EventKind
from stores.pipeline.events.rules import (
    Rule,
    every_broken,
    rule_parameters,
    rules_for,
    stored_values,
)
from stores.pipeline.fields_to_correct import record_fields
from stores.pipeline.upload.batches import close_batch, open_batch

BROKEN_RULES = load(__file__, "broken_rules")
STAGE_EVENT = load(__file__, "stage_event")


class EventRefused(Exception):
    """The event breaks rules. Nothing was staged."""

    def __init__(self, broken: Sequence[Rule]) -> None:
        super().__init__(", ".join(f"{rule.field}: {rule.code}" for rule in broken))
        self.broken = broken


def create_event(
    company: Company,
    kind: EventKind,
    values: Mapping[str, Any],
    *,
    by: Any = None,
    corrects: str | None = None,
    for_database: ChannelDatabase | None = None,
    unchanged: Collection[str] = (),
    batch: int | None = None,
) -> UUID:
    """Stage one event of HQ, which takes effect now, in the caller's transaction. Return its id.

    `values` are its columns; those left out are empty. `unchanged` are optional fields that may
    break rules, because the event leaves them as they are. `batch` is the batch that the caller has
    opened for several events. Raise EventRefused if the event breaks rules.
    """
    event_id = uuid4()
    with incoming_event(kind, {**values, "event_id": event_id}) as incoming:
        broken = broken_rules(kind, company, incoming)
        refused = [rule for rule in broken if not rule.is_optional or rule.field not in unchanged]
        if not refused:
            if broken:
                record_fields(incoming, company)
            batch_id = open_batch(company) if batch is None else batch
            run_sql(
                stage_statement(kind, incoming),
                {
                    "batch": batch_id,
                    "company": company.pk,
                    "by": by.pk if by else None,
                    "corrects": corrects,
                    "database": for_database.pk if for_database else None,
                },
            )
            if batch is None:
                close_batch(batch_id, 1)
    # Raised after the block: an exception within it would keep it from dropping its work table.
    if refused:
        raise EventRefused(refused)
    return event_id


def incoming_event(kind: EventKind, values: Mapping[str, Any]) -> AbstractContextManager[WorkTable]:
    """Make a work table of one event in the form in which events arrive from channels.

    Unless `values` have a time, it is clock_timestamp() and not now(): the transaction may have
    waited for another edit of the same customer.
    """
    set_by_hq = {"replication_counter": sql.SQL("nextval('hq_event_counter')")}
    if "occurred_at" not in values:
        set_by_hq["occurred_at"] = sql.SQL("clock_timestamp()")
    columns = listed(
        sql.SQL("{}::{} AS {}").format(
            set_by_hq.get(column, sql.Placeholder(column)),
            sql.SQL(kind.type_of(column)),
            sql.Identifier(column),
        )
        for column in kind.sent_columns
    )
    parameters = {column: values.get(column) for column in kind.sent_columns}
    return query_table("incoming", sql.SQL("SELECT ") + columns, parameters)


def broken_rules(kind: EventKind, company: Company, incoming: WorkTable) -> list[Rule]:
    """Return the rules that an event breaks."""
    positions = fetch_value(broken_statement(kind, incoming), rule_parameters(company.pk))
    rules = rules_for(kind)
    return [rules[position] for position in positions]


def broken_statement(kind: EventKind, incoming: WorkTable) -> sql.Composed:
    return BROKEN_RULES.format(incoming=incoming, every_broken=every_broken(kind))


def stage_statement(kind: EventKind, incoming: WorkTable) -> sql.Composed:
    return STAGE_EVENT.format(
        incoming=incoming,
        columns=identifiers(kind.sent_columns),
        values=stored_values(kind, kind.sent_columns, of="incoming"),
        **kind.names,
    )
