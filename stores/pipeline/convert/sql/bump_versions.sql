-- Claimed customers get their next version, each by a new change of its company.
--
-- Whom no channel is to have keeps no change number.
WITH turn AS (
  SELECT customer_id, %(first_change)s - 1 + row_number() OVER (ORDER BY customer_id) AS change_no
    FROM {claimed} GROUP BY customer_id),
bumped AS (
  UPDATE customer k
     SET hq_version = k.hq_version + 1, modified_at = now(),
         change_no = CASE WHEN k.change_no IS NOT NULL THEN turn.change_no END
    FROM turn WHERE k.id = turn.customer_id
  RETURNING k.id, k.hq_version)
UPDATE {claimed} c SET hq_version = bumped.hq_version FROM bumped WHERE bumped.id = c.customer_id
