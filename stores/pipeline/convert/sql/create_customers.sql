-- Create a customer with an account number for each claimed GUID, as its newest events say.
--
-- Run by accounts.insert_customers(). It fills {new_customers} with the customers, and returns one
-- row: how many events and how many customers there were. A value that the events leave out comes
-- from the default customer of the channel that created the GUID, and so does the receipt
-- preference; the financial dimensions are those of that customer's group.
--
-- {newest_events}: the CTEs `taken` and `newest` of _newest_events.sql. {columns}: those of a
-- customer; {values}: their values from event `new` or from `home`, the home channel. {inherited}:
-- the columns of `default_customer` that may be used.
WITH {newest_events},
home_channel AS MATERIALIZED (
  SELECT channel_database.id AS home_database_id, channel_database.channel_id, sequence.format,
         {inherited}, default_customer.receipt_preference, default_group.financial_dimensions
    FROM channel_database
    JOIN channel ON channel.id = channel_database.channel_id
    JOIN number_sequence sequence ON sequence.company_id = %(company)s
    LEFT JOIN customer default_customer ON default_customer.id = channel.default_customer_id
    LEFT JOIN customer_group default_group
           ON default_group.company_id = default_customer.company_id
          AND default_group.code = default_customer.customer_group),
written AS (
  INSERT INTO customer (id, company_id, account_number, number, is_active, hq_version, change_no,
                        event_at, event_database, event_generation, event_counter,
                        receipt_preference, financial_dimensions, {columns})
  SELECT new.customer_id, %(company)s, format_number(home.format, new.number), new.number,
         new.last_operation <> 'deactivate', 1, %(first_change)s + new.number - %(first)s,
         new.event_at, new.event_database, new.event_generation, new.event_counter,
         home.receipt_preference, nullif(home.financial_dimensions, ''), {values}
    FROM (SELECT *, %(first)s - 1 + row_number() OVER (ORDER BY async_account) AS number
            FROM newest) new
    JOIN home_channel home USING (home_database_id)
  RETURNING id),
created AS (
  INSERT INTO {new_customers} (async_account, customer_id, channel_id)
  SELECT newest.async_account, newest.customer_id, home.channel_id
    FROM newest JOIN home_channel home USING (home_database_id)
  RETURNING 1)
SELECT (SELECT count(*) FROM taken) AS events, (SELECT count(*) FROM created) AS customers
