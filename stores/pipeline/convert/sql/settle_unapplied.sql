-- Settle the claimed events that changed nothing: they came too late, or named another's row.
--
-- Those that came too late are superseded; those that named what belongs to another customer fail.
-- {events}: where the events are; {is_claimed}: that event t belongs to claimed customer c. {key}:
-- by which a row is known, beside its customer where {is_customers_own}: an affiliation of the same
-- name is another customer's too, an id is not.
WITH taken AS MATERIALIZED (
  SELECT c.customer_id, t.event_id, t.batch_id, t.company_id, t.async_account, t.account_number,
         t.database_id, t.generation, t.replication_counter, t.{key}
    FROM {claimed} c JOIN {events} t ON {is_claimed}),
lost AS MATERIALIZED (
  SELECT s.*, row.customer_id AS owner_id
    FROM taken s
    JOIN {table} row
      ON row.{key} = s.{key} AND (NOT {is_customers_own} OR row.customer_id = s.customer_id)
   WHERE NOT EXISTS (SELECT FROM taken mine
                      WHERE mine.customer_id = s.customer_id
                        AND row.customer_id = mine.customer_id
                        AND coalesce(mine.database_id, 0) = row.event_database
                        AND mine.generation = row.event_generation
                        AND mine.replication_counter = row.event_counter)),
superseded AS (
  INSERT INTO settled_event ("table", event_id, batch_id, outcome, applied_at, run_id)
  SELECT {name}, event_id, batch_id, 'superseded', now(), %(run)s::uuid
    FROM lost WHERE owner_id = customer_id
      ON CONFLICT ("table", event_id) DO UPDATE SET outcome = excluded.outcome),
failing AS (
  SELECT event_id, batch_id, company_id, async_account, account_number, 'failed' AS status,
         'belongs_to_another' AS reason, {field} AS field
    FROM lost WHERE owner_id <> customer_id),
{open_failing}
