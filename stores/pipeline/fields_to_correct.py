"""Optional fields that break a rule: the customer is staged, and the field marked for correction.

A mark is made with the event and found to be settled after conversions and edits: when the customer
shows another value that is right, or a later event has said it anew.
"""

import json
from collections.abc import Mapping
from typing import Any

from stores.hqdb.sql import run_sql
from stores.models import Company, Customer
from stores.pipeline.events.kinds import CUSTOMER
from stores.pipeline.events.rules import OPTIONAL_RULES, rule_parameters, stored_value

IS_LOST = f"birth_date IS NOT NULL AND ({stored_value(CUSTOMER, 'birth_date')}) IS NULL"


def record_fields(
    company: Company, database: int | None = None, unread: Mapping[int, Mapping[str, Any]] = {}
) -> int:
    """Mark the optional fields of customers in table incoming that break a rule. Returns fields.

    `unread` are values that no column can hold, by counter and column. Effects: field_to_correct,
    in the caller's transaction; what is marked already stays as it is.
    """
    broken = " OR ".join(f"({rule.broken})" for rule in OPTIONAL_RULES)
    fields = ", ".join(
        f"('{rule.field}', '{rule.code}', ({rule.broken}))" for rule in OPTIONAL_RULES
    )
    values = rule_parameters(company.pk) | {"database": database, "unread": json.dumps(unread)}
    recorded = run_sql(
        f"""INSERT INTO field_to_correct (company_id, database_id, event_id, async_account, field,
                                          rule, value)
            SELECT %(company)s, %(database)s, event_id, async_account, f.field, f.rule,
                   CASE WHEN f.field = 'birth_date' AND {IS_LOST} THEN birth_date::text ELSE '' END
              FROM incoming CROSS JOIN LATERAL (VALUES {fields}) f (field, rule, is_broken)
             WHERE ({broken}) AND f.is_broken
                ON CONFLICT DO NOTHING""",  # noqa: S608 - our own rules
        values,
    )
    if unread:
        recorded += run_sql(
            """INSERT INTO field_to_correct (company_id, database_id, event_id, async_account,
                                             field, rule, value)
               SELECT %(company)s, %(database)s, i.event_id, i.async_account, f.key,
                      'date_format', f.value
                 FROM jsonb_each(%(unread)s::jsonb) u
                 JOIN incoming i ON i.replication_counter = u.key::bigint
                CROSS JOIN LATERAL jsonb_each_text(u.value) f
                WHERE tidy(f.value) <> ''
                   ON CONFLICT DO NOTHING""",
            values,
        )
    return recorded


def settle_fields(company: Company, customer: Customer | None = None) -> int:
    """Close the marks of fields that are right by now, of a company or of one customer.

    Returns how many. Effects: field_to_correct, in the caller's transaction.
    """
    condition = "f.settled_at IS NULL AND f.company_id = %(company)s"
    values = rule_parameters(company.pk) | {"customer": customer.pk if customer else None}
    run_sql(
        f"""UPDATE field_to_correct f SET customer_id = s.customer_id
              FROM async_customer s
             WHERE {condition} AND f.customer_id IS NULL AND s.event_id = f.event_id
               AND s.customer_id IS NOT NULL""",  # noqa: S608 - our own condition
        values,
    )
    cases = [f"WHEN '{rule.field}' THEN ({rule.broken}) IS NOT TRUE" for rule in OPTIONAL_RULES]
    return run_sql(
        f"""WITH marked AS (
              SELECT f.id, f.customer_id, f.field, f.value, s.event_id, s.applied_at, k.is_right,
                     k.is_empty, least(s.occurred_at, s.staged_at) AS at
                FROM field_to_correct f JOIN async_customer s USING (event_id)
               CROSS JOIN LATERAL (
                     SELECT CASE f.field {" ".join(cases)} END AS is_right,
                            birth_date IS NULL AS is_empty
                       FROM customer WHERE id = f.customer_id) k
               WHERE {condition} AND f.customer_id = coalesce(%(customer)s, f.customer_id))
            UPDATE field_to_correct f SET settled_at = now()
              FROM marked m
             WHERE m.id = f.id
               AND ((m.value = '' OR NOT m.is_empty) AND m.is_right
                    OR EXISTS (SELECT FROM marked later
                                WHERE later.customer_id = m.customer_id AND later.field = m.field
                                  AND later.id > m.id)
                    OR m.value <> '' AND EXISTS (
                       SELECT FROM async_customer later
                        WHERE later.customer_id = m.customer_id AND later.status = 'applied'
                          AND later.operation <> 'deactivate' AND later.event_id <> m.event_id
                          AND later.applied_at >= m.applied_at
                          AND least(later.occurred_at, later.staged_at) > m.at))""",  # noqa: S608
        values,
    )
