-- Ask a person about each edit whose maker had not seen the removal: it is an open conflict.
--
-- {name}: of the events' table; {key}: what names the row of edit l among its customer's.
INSERT INTO edit_conflict (customer_id, "table", key, field, lost_value, kept_value, lost_event,
                           kept_event, lost_database_id, kept_database_id, lost_at, kept_at,
                           clock_skewed, choice, reason)
SELECT l.customer_id, {name}, {key}, 'is_active', 'true', 'false', l.edit, l.removal, l.edited_in,
       l.removed_in, l.edited_at, l.removed_at, false, '', ''
  FROM {edits} l
  JOIN (SELECT {entity} FROM {edits} GROUP BY {entity} HAVING NOT bool_or(has_seen)) u
 USING ({entity})
    ON CONFLICT DO NOTHING
