-- Close the conflicts about a removal once an edit has taken the removal back knowingly.
--
-- Run by removals.restore_removals(). {edits}: the edits after a removal. {name}: the staging
-- table, as a text; {key_text}: which of its customer's rows `edit` is about.
UPDATE edit_conflict conflict SET closed_at = now(), choice = 'back'
  FROM {edits} edit
 WHERE edit.has_seen AND conflict.customer_id = edit.customer_id AND conflict."table" = {name}
   AND conflict.key = {key_text} AND conflict.field = 'is_active' AND conflict.lost_value = 'true'
   AND conflict.closed_at IS NULL
