-- Settle the claimed events that changed nothing, because they came too late or named a row of
-- another customer: the former are superseded, the latter fail.
--
-- Run by merge.settle_unapplied(). {claimed}: the work table of customers or of events with their
-- customers; {events}: the table or query of the events; {is_claimed}: that `event` belongs to the
-- customer of `claimed`. {table}: HQ's rows; {name}: the staging table, as a text. {key}: the
-- column by which a row is known, {field}: the same as a text. {is_customers_own}: whether another
-- customer's row of the same key is another row, as it is of a name, but not of an id.
-- {opened_events}: the CTEs of _opened_events.sql.
WITH taken AS MATERIALIZED (
  SELECT claimed.customer_id, event.event_id, event.batch_id, event.company_id,
         event.async_account, event.account_number, event.database_id, event.generation,
         event.replication_counter, event.{key}
    FROM {claimed} claimed JOIN {events} event ON {is_claimed}),
lost AS MATERIALIZED (
  SELECT taken.*, row.customer_id AS owner_id
    FROM taken
    JOIN {table} row
      ON row.{key} = taken.{key}
     AND (NOT {is_customers_own} OR row.customer_id = taken.customer_id)
   -- The row shows none of the customer's claimed events.
   WHERE NOT EXISTS (SELECT FROM taken shown
                      WHERE shown.customer_id = taken.customer_id
                        AND row.customer_id = shown.customer_id
                        AND coalesce(shown.database_id, 0) = row.event_database
                        AND shown.generation = row.event_generation
                        AND shown.replication_counter = row.event_counter)),
superseded AS (
  INSERT INTO settled_event ("table", event_id, batch_id, outcome, applied_at, run_id)
  SELECT {name}, event_id, batch_id, 'superseded', now(), %(run)s::uuid
    FROM lost WHERE owner_id = customer_id
      ON CONFLICT ("table", event_id) DO UPDATE SET outcome = excluded.outcome),
failing AS (
  SELECT event_id, batch_id, company_id, async_account, account_number, 'failed' AS status,
         'belongs_to_another' AS reason, {field} AS field
    FROM lost WHERE owner_id <> customer_id),
{opened_events}
SELECT count(*) FROM opened
