-- Claimed GUIDs become customers with a number, each with what its events say.
--
-- What they leave out comes from the default customer of the channel that made the GUID. Says how
-- many events there were, and how many customers; the table of new customers tells who they are.
--
-- {values}: {columns}, of newest event n or default customer d. {inherited}: what d can give.
WITH {newest_events},
home_channel AS MATERIALIZED (
  SELECT b.id AS home_database_id, b.channel_id, q.format, {inherited}
    FROM channel_database b JOIN channel h ON h.id = b.channel_id
    JOIN number_sequence q ON q.company_id = %(company)s
    LEFT JOIN customer d ON d.id = h.default_customer_id),
written AS (
  INSERT INTO customer (id, company_id, account_number, number, is_active, hq_version,
                        change_no, event_at, event_database, event_generation, event_counter,
                        {columns})
  SELECT n.customer_id, %(company)s, account_text(d.format, n.number), n.number,
         n.last_operation <> 'deactivate', 1,
         %(first_change)s + n.number - %(first)s, n.last_at, n.last_database, n.last_generation, n.last_counter, {values}
    FROM (SELECT *, %(first)s - 1 + row_number() OVER (ORDER BY async_account) AS number
            FROM newest) n
    JOIN home_channel d USING (home_database_id)
  RETURNING id),
known AS (
  INSERT INTO {new_customers}
  SELECT n.async_account, n.customer_id, d.channel_id
    FROM newest n JOIN home_channel d USING (home_database_id)
  RETURNING 1)
SELECT (SELECT count(*) FROM taken), (SELECT count(*) FROM known)
