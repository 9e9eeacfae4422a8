"""Marks of optional fields to be corrected.

A customer whose optional field breaks a rule is staged all the same, and the field is marked, so
that a person can correct it. A mark is settled once the customer has a right value in the field, or
once a later event states the field again.
"""

import json
from collections.abc import Mapping
from typing import Any

from psycopg2 import sql

from stores.hqdb.files import load
from stores.hqdb.sql import fetch_value, identifiers, run_sql
from stores.hqdb.work_table import WorkTable
from stores.models import Company, Customer
from stores.pipeline.events.kinds import CUSTOMER
from stores.pipeline.events.rules import OPTIONAL_RULES, rule_parameters, stored_value

RECORD_FIELDS = load(__file__, "record_fields")
IS_LOST = f"birth_date IS NOT NULL AND ({stored_value(CUSTOMER, 'birth_date')}) IS NULL"
IS_RIGHT = " ".join(
    f"WHEN '{rule.field}' THEN ({rule.broken}) IS NOT TRUE" for rule in OPTIONAL_RULES
)
SETTLE_FIELDS = load(__file__, "settle_fields").format(
    is_right=sql.SQL(f"CASE mark.field {IS_RIGHT} END")
)


def record_fields(
    incoming: WorkTable,
    company: Company,
    database: int | None = None,
    unread: Mapping[int, Mapping[str, Any]] = {},
) -> int:
    """Mark the optional fields of incoming customers that break a rule. Return how many.

    `unread` has the values that no column can hold, by replication counter and column. A field that
    is already marked stays as it is. This happens in the caller's transaction.
    """
    values = rule_parameters(company.pk) | {"database": database, "unread": json.dumps(unread)}
    recorded = 0
    if has_optional_values(incoming):
        recorded = run_sql(record_statement(incoming), values)
    if unread:
        recorded += run_sql(
            """INSERT INTO field_to_correct (company_id, database_id, event_id, async_account,
                                             field, rule, value)
               SELECT %(company)s, %(database)s, incoming.event_id, incoming.async_account,
                      field.key, 'date_format', field.value
                 FROM jsonb_each(%(unread)s::jsonb) unread
                 JOIN {incoming} incoming
                      ON incoming.replication_counter = unread.key::bigint
                CROSS JOIN LATERAL jsonb_each_text(unread.value) field
                WHERE normalize_text(field.value) <> ''
                   ON CONFLICT DO NOTHING""",
            values,
            incoming=incoming,
        )
    return recorded


def has_optional_values(incoming: WorkTable) -> bool:
    """Whether an incoming customer has a value in any optional field.

    If none has, no rule is broken, and the rules need not be planned.
    """
    statement = sql.SQL("SELECT EXISTS (SELECT FROM {incoming} WHERE concat({columns}) <> '')")
    columns = [rule.field for rule in OPTIONAL_RULES]
    return bool(fetch_value(statement.format(incoming=incoming, columns=identifiers(columns))))


def record_statement(incoming: WorkTable) -> sql.Composed:
    fields = (f"('{rule.field}', '{rule.code}', ({rule.broken}))" for rule in OPTIONAL_RULES)
    return RECORD_FIELDS.format(
        incoming=incoming,
        any_broken=sql.SQL(" OR ".join(f"({rule.broken})" for rule in OPTIONAL_RULES)),
        fields=sql.SQL(", ".join(fields)),
        is_lost=sql.SQL(IS_LOST),
    )


def settle_fields(company: Company, customer: Customer | None = None) -> int:
    """Settle the marks of a company, or of one customer, whose fields are right or were sent again.

    Return how many. This happens in the caller's transaction.
    """
    values = rule_parameters(company.pk) | {"customer": customer.pk if customer else None}
    # Mostly there are none, and to plan what settles them takes longer.
    has_open = fetch_value(
        """SELECT EXISTS (SELECT FROM field_to_correct
                           WHERE company_id = %(company)s AND settled_at IS NULL)""",
        values,
    )
    if not has_open:
        return 0
    # A mark is made before its event has a customer.
    run_sql(
        """UPDATE field_to_correct mark SET customer_id = event.customer_id
             FROM staged_customer event
            WHERE mark.settled_at IS NULL AND mark.company_id = %(company)s
              AND mark.customer_id IS NULL
              AND event.event_id = mark.event_id
              AND event.status IN ('applied', 'superseded')""",
        values,
    )
    return run_sql(SETTLE_FIELDS, values)
