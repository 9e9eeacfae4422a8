"""Events that are made in HQ: edits by people, and corrections of rows that HQ could not use.

They stand in staging like those of tills, with a counter of HQ's own and no channel database, are
checked by the same rules and merged by the same statements: nothing else writes a customer.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any
from uuid import UUID, uuid4

from psycopg2 import sql

from stores.hqdb.sql import fetch_one, identifiers, run_sql
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


class EventRefused(Exception):
    """The event breaks a rule."""

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
) -> UUID:
    """Stage one event of HQ, which takes effect now. Returns its id.

    `values` are its columns; those left out are empty. Optional fields that are `unchanged` may be
    as wrong as they were. Effects: one pending row of staging, in the caller's transaction. Errors:
    EventRefused with all broken rules, and then nothing is staged.
    """
    event_id = uuid4()
    load_event(kind, {**values, "event_id": event_id})
    rules = broken_rules(kind, company)
    broken = [rule for rule in rules if not rule.is_optional or rule.field not in unchanged]
    if rules and not broken:
        record_fields(company)
    if not broken:
        stage_event(kind, company, by=by, corrects=corrects, for_database=for_database)
    run_sql("DROP TABLE incoming")
    if broken:
        raise EventRefused(broken)
    return event_id


def load_event(kind: EventKind, values: Mapping[str, Any]) -> None:
    """Put one event into table incoming, with the time and HQ's next counter.

    The time is read now and not when the transaction began: it may have waited for another edit.
    """
    own = {"replication_counter": "nextval('hq_event_counter')", "occurred_at": "clock_timestamp()"}
    columns = [
        sql.SQL("{}::{} AS {}").format(
            sql.SQL(own[column]) if column in own else sql.Placeholder(column),
            sql.SQL(kind.type_of(column)),
            sql.Identifier(column),
        )
        for column in kind.sent_columns
    ]
    given = {column: values.get(column) for column in kind.sent_columns}
    run_sql(
        sql.SQL("CREATE TEMP TABLE incoming ON COMMIT DROP AS SELECT {}").format(
            sql.SQL(", ").join(columns)
        ),
        {
            column: str(value) if isinstance(value, UUID) else value
            for column, value in given.items()
        },
    )


def broken_rules(kind: EventKind, company: Company) -> list[Rule]:
    (places,) = fetch_one(
        sql.SQL("SELECT {} FROM incoming").format(every_broken(kind)), rule_parameters(company.pk)
    )
    return [rules_for(kind)[place] for place in places]


def stage_event(
    kind: EventKind,
    company: Company,
    *,
    by: Any,
    corrects: str | None,
    for_database: ChannelDatabase | None,
) -> None:
    run_sql(
        sql.SQL(
            """INSERT INTO {table} (origin, company_id, made_by_id, corrects, for_database_id,
                                    staged_at, {columns})
               SELECT 'hq', %(company)s, %(by)s, %(corrects)s, %(database)s, occurred_at, {values}
                 FROM incoming"""
        ).format(
            table=sql.Identifier(kind.event),
            columns=identifiers(kind.sent_columns),
            values=stored_values(kind, kind.sent_columns),
        ),
        {
            "company": company.pk,
            "by": by.pk if by else None,
            "corrects": corrects,
            "database": for_database.pk if for_database else None,
        },
    )
