"""Events that are made in HQ: edits by people, and corrections of rows that HQ could not use.

They are staged like events of tills, with a counter of HQ's own and no channel database. The same
rules check them and the same statements merge them.
"""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any
from uuid import UUID, uuid4

from psycopg2 import sql

from stores.hqdb.files import load
from stores.hqdb.sql import fetch_one, identifiers, listed, run_sql
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
    """Stage one event of HQ, which takes effect now. Returns its id.

    `values` are its columns; those left out are empty. Optional fields that are `unchanged` may be
    as wrong as they were. `batch` is one that the caller has opened; else it has one of its own.
    Effects: one pending row of staging, in the caller's transaction. Errors: EventRefused with all
    broken rules, and then nothing is staged.
    """
    event_id = uuid4()
    with incoming_event(kind, {**values, "event_id": event_id}) as incoming:
        broken = broken_rules(kind, company, incoming)
        refused = [rule for rule in broken if not rule.is_optional or rule.field not in unchanged]
        if not refused:
            if broken:
                # Optional fields that stay as wrong as they were.
                record_fields(incoming, company)
            batch_id = open_batch(company) if batch is None else batch
            stage_event(
                kind,
                company,
                incoming,
                batch=batch_id,
                by=by,
                corrects=corrects,
                for_database=for_database,
            )
            if batch is None:
                close_batch(batch_id, 1)
    # Only now: an error within the block would leave its work table.
    if refused:
        raise EventRefused(refused)
    return event_id


def incoming_event(kind: EventKind, values: Mapping[str, Any]) -> AbstractContextManager[WorkTable]:
    """One event as rows arrive from channels, with the time and HQ's next counter.

    Its time is clock_timestamp() and not now(): the transaction may have waited for another edit of
    the same customer.
    """
    columns = {column: values.get(column) for column in kind.sent_columns}
    return query_table("incoming", event_query(kind), columns)


def event_query(kind: EventKind) -> sql.Composed:
    of_hq = {
        "replication_counter": "nextval('hq_event_counter')",
        "occurred_at": "clock_timestamp()",
    }
    columns = listed(
        sql.SQL("{}::{} AS {}").format(
            sql.SQL(of_hq[column]) if column in of_hq else sql.Placeholder(column),
            sql.SQL(kind.type_of(column)),
            sql.Identifier(column),
        )
        for column in kind.sent_columns
    )
    return sql.SQL("SELECT ") + columns


def broken_rules(kind: EventKind, company: Company, incoming: WorkTable) -> list[Rule]:
    """The rules that an event breaks; the statement tells their places in rules_for(), from 0."""
    (places,) = fetch_one(broken_statement(kind, incoming), rule_parameters(company.pk))
    return [rules_for(kind)[place] for place in places]


def broken_statement(kind: EventKind, incoming: WorkTable) -> sql.Composed:
    return BROKEN_RULES.format(incoming=incoming, every_broken=every_broken(kind))


def stage_event(
    kind: EventKind,
    company: Company,
    incoming: WorkTable,
    *,
    batch: int,
    by: Any,
    corrects: str | None,
    for_database: ChannelDatabase | None,
) -> None:
    run_sql(
        stage_statement(kind, incoming),
        {
            "batch": batch,
            "company": company.pk,
            "by": by.pk if by else None,
            "corrects": corrects,
            "database": for_database.pk if for_database else None,
        },
    )


def stage_statement(kind: EventKind, incoming: WorkTable) -> sql.Composed:
    return STAGE_EVENT.format(
        incoming=incoming,
        columns=identifiers(kind.sent_columns),
        values=stored_values(kind, kind.sent_columns, of="incoming"),
        **kind.names,
    )
