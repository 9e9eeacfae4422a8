-- Give each claimed customer the next version, and the next change number of the company.
--
-- Run by known_customers.bump_versions(), which has reserved change numbers from `first_change`.
-- {claimed}: the events with their customers; it gets the new versions. A customer that is sent to
-- no channel has no change number, and keeps none.
WITH numbered AS (
  SELECT customer_id, %(first_change)s - 1 + row_number() OVER (ORDER BY customer_id) AS change_no
    FROM {claimed} GROUP BY customer_id),
bumped AS (
  UPDATE customer
     SET hq_version = customer.hq_version + 1, modified_at = now(),
         change_no = CASE WHEN customer.change_no IS NOT NULL THEN numbered.change_no END
    FROM numbered WHERE customer.id = numbered.customer_id
  RETURNING customer.id, customer.hq_version)
UPDATE {claimed} claimed SET hq_version = bumped.hq_version
  FROM bumped WHERE bumped.id = claimed.customer_id
