-- Close the conflicts about removals that somebody has answered who had seen them.
--
-- {name}: of the events' table; {key}: what names the row of edit l among its customer's.
UPDATE edit_conflict c SET closed_at = now(), choice = 'back'
  FROM {edits} l
 WHERE l.has_seen AND c.customer_id = l.customer_id AND c."table" = {name} AND c.key = {key}
   AND c.field = 'is_active' AND c.lost_value = 'true' AND c.closed_at IS NULL
