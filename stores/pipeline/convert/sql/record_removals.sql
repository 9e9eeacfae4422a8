-- Open a conflict for each edit whose maker did not know of the removal, for a person to decide.
--
-- Run by removals.restore_removals(). {edits}: the edits after a removal; {entity}: the columns of
-- the removed entity in them. {name}: the staging table, as a text; {key_text}: which of its
-- customer's rows `edit` is about.
INSERT INTO edit_conflict (customer_id, "table", key, field, lost_value, kept_value, lost_event,
                           kept_event, lost_database_id, kept_database_id, lost_at, kept_at,
                           clock_skewed, choice, reason)
SELECT edit.customer_id, {name}, {key_text}, 'is_active', 'true', 'false', edit.edit, edit.removal,
       edit.edited_in, edit.removed_in, edit.edited_at, edit.removed_at, false, '', ''
  FROM {edits} edit
  JOIN (SELECT {entity} FROM {edits} GROUP BY {entity} HAVING NOT bool_or(has_seen)) unseen
 USING ({entity})
    ON CONFLICT DO NOTHING
