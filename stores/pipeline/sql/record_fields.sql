-- Mark the optional fields of incoming customers that break a rule: insert one row for each.
--
-- Run by fields_to_correct.record_fields(). {incoming}: the customers. {any_broken}: that a row
-- breaks any rule. {fields}: each field with its rule, and whether that is broken. {is_lost}: that
-- staging cannot hold the day of birth, which is then kept in the mark.
INSERT INTO field_to_correct (company_id, database_id, event_id, async_account, field, rule, value)
SELECT %(company)s, %(database)s, event_id, async_account, optional.field, optional.rule,
       CASE WHEN optional.field = 'birth_date' AND {is_lost} THEN birth_date::text ELSE '' END
  FROM {incoming} incoming
 CROSS JOIN LATERAL (VALUES {fields}) optional (field, rule, is_broken)
 WHERE ({any_broken}) AND optional.is_broken
    ON CONFLICT DO NOTHING
