-- Open a conflict for each edit of a removed entity, for a person to decide, if no maker of an edit
-- knew of the removal.
--
-- Run by removals.restore_removals(). {edits}: the edits after a removal; {entity}: the columns of
-- the removed entity in them. {name}: the staging table, as a text; {key_text}: which of its
-- customer's rows `edit` is about.
INSERT INTO edit_conflict (customer_id, "table", key, field, lost_value, kept_value, lost_event,
                           kept_event, lost_database_id, kept_database_id, lost_at, kept_at,
                           clock_skewed, choice, reason)
SELECT edit.customer_id, {name}, {key_text}, 'is_active' AS field, 'true' AS lost_value,
       'false' AS kept_value, edit.edit, edit.removal, edit.edited_in, edit.removed_in,
       edit.edited_at, edit.removed_at, false AS clock_skewed, '' AS choice, '' AS reason
  FROM {edits} edit
  JOIN (SELECT {entity} FROM {edits} GROUP BY {entity} HAVING NOT bool_or(has_seen)) unseen
 USING ({entity})
    ON CONFLICT DO NOTHING
