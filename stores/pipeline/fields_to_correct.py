"""Optional fields that break a rule: the customer is staged, and the field marked for correction.

A mark is made with the event and found to be settled after conversions and edits: when the customer
shows another value that is right, or a later event has said it anew.
"""

import json
from collections.abc import Mapping
from typing import Any

from psycopg2 import sql

from stores.hqdb.files import load
from stores.hqdb.sql import run_sql
from stores.hqdb.work_table import WorkTable
from stores.models import Company, Customer
from stores.pipeline.events.kinds import CUSTOMER
from stores.pipeline.events.rules import OPTIONAL_RULES, rule_parameters, stored_value

RECORD_FIELDS = load(__file__, "record_fields")
SETTLE_FIELDS = load(__file__, "settle_fields")
# Another event was applied after the marked one, and is of a later time.
IS_LATER = """later.status = 'applied' AND later.operation <> 'deactivate'
              AND later.event_id <> marked.event_id AND later.applied_at >= marked.applied_at
              AND least(later.occurred_at, later.staged_at) > marked.at"""
IS_LOST = f"birth_date IS NOT NULL AND ({stored_value(CUSTOMER, 'birth_date')}) IS NULL"


def record_fields(
    incoming: WorkTable,
    company: Company,
    database: int | None = None,
    unread: Mapping[int, Mapping[str, Any]] = {},
) -> int:
    """Mark the optional fields of incoming customers that break a rule. Returns fields.

    `unread` are values that no column can hold, by counter and column. Effects: field_to_correct,
    in the caller's transaction; what is marked already stays as it is.
    """
    values = rule_parameters(company.pk) | {"database": database, "unread": json.dumps(unread)}
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


def record_statement(incoming: WorkTable) -> sql.Composed:
    fields = (f"('{rule.field}', '{rule.code}', ({rule.broken}))" for rule in OPTIONAL_RULES)
    return RECORD_FIELDS.format(
        incoming=incoming,
        any_broken=sql.SQL(" OR ".join(f"({rule.broken})" for rule in OPTIONAL_RULES)),
        fields=sql.SQL(", ".join(fields)),
        is_lost=sql.SQL(IS_LOST),
    )


def settle_fields(company: Company, customer: Customer | None = None) -> int:
    """Close the marks of fields that are right by now, of a company or of one customer.

    Returns how many. Effects: field_to_correct, in the caller's transaction.
    """
    values = rule_parameters(company.pk) | {"customer": customer.pk if customer else None}
    run_sql(
        """UPDATE field_to_correct mark SET customer_id = event.customer_id
             FROM staged_customer event
            WHERE mark.settled_at IS NULL AND mark.company_id = %(company)s
              AND mark.customer_id IS NULL
              AND event.event_id = mark.event_id
              AND event.status IN ('applied', 'superseded')""",
        values,
    )
    return run_sql(settle_statement(), values)


def settle_statement() -> sql.Composed:
    cases = (f"WHEN '{rule.field}' THEN ({rule.broken}) IS NOT TRUE" for rule in OPTIONAL_RULES)
    return SETTLE_FIELDS.format(
        is_right=sql.SQL(f"CASE mark.field {' '.join(cases)} END"), is_later=sql.SQL(IS_LATER)
    )
