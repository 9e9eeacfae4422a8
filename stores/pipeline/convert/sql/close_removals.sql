-- Close the conflicts about removals that somebody has answered who had seen the removal.
--
-- Run by removals.restore_removals(). {edits}: the edits after a removal. {name}: the staging
-- table, as a text; {key_text}: what names the row of `edit` among its customer's.
UPDATE edit_conflict conflict SET closed_at = now(), choice = 'back'
  FROM {edits} edit
 WHERE edit.has_seen AND conflict.customer_id = edit.customer_id AND conflict."table" = {name}
   AND conflict.key = {key_text} AND conflict.field = 'is_active' AND conflict.lost_value = 'true'
   AND conflict.closed_at IS NULL
