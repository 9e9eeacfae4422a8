-- Triggers that count the rows that arrive from channels, by database, table and day (UTC). They count in the
-- transaction that stages or quarantines the rows. The balance of each day is compared with these counts.

-- Count staged events. An event whose batch has no session does not count: headquarters made it, or it was counted when
-- it was quarantined.
CREATE FUNCTION count_staged() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO arrival (database_id, "table", day, rows)
    SELECT fresh.database_id, TG_TABLE_NAME, (fresh.staged_at AT TIME ZONE 'UTC')::date, count(*)
      FROM fresh JOIN upload_batch batch ON batch.id = fresh.batch_id
     WHERE batch.session_id IS NOT NULL GROUP BY 1, 2, 3
        ON CONFLICT (database_id, "table", day) DO UPDATE SET rows = arrival.rows + excluded.rows;
    RETURN NULL;
END $$;
CREATE TRIGGER arrivals_are_counted AFTER INSERT ON async_customer
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION count_staged();
CREATE TRIGGER arrivals_are_counted AFTER INSERT ON async_address
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION count_staged();
CREATE TRIGGER arrivals_are_counted AFTER INSERT ON async_contact
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION count_staged();
CREATE TRIGGER arrivals_are_counted AFTER INSERT ON async_affiliation
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION count_staged();
CREATE TRIGGER arrivals_are_counted AFTER INSERT ON async_attribute
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION count_staged();

-- Count sales, for which the same holds of their own session.
CREATE FUNCTION count_sales() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO arrival (database_id, "table", day, rows)
    SELECT database_id, TG_TABLE_NAME, (staged_at AT TIME ZONE 'UTC')::date, count(*)
      FROM fresh WHERE session_id IS NOT NULL GROUP BY 1, 2, 3
        ON CONFLICT (database_id, "table", day) DO UPDATE SET rows = arrival.rows + excluded.rows;
    RETURN NULL;
END $$;
CREATE TRIGGER arrivals_are_counted AFTER INSERT ON retail_transaction
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION count_sales();

-- Count lines and payments. Database and day are those of their transaction.
CREATE FUNCTION count_parts() RETURNS trigger LANGUAGE plpgsql
SET enable_seqscan = off AS $$
BEGIN
    INSERT INTO arrival (database_id, "table", day, rows)
    SELECT sale.database_id, TG_TABLE_NAME, (sale.staged_at AT TIME ZONE 'UTC')::date, count(*)
      FROM fresh JOIN retail_transaction sale ON sale.id = fresh.transaction_id
     WHERE sale.session_id IS NOT NULL GROUP BY 1, 2, 3
        ON CONFLICT (database_id, "table", day) DO UPDATE SET rows = arrival.rows + excluded.rows;
    RETURN NULL;
END $$;
CREATE TRIGGER arrivals_are_counted AFTER INSERT ON retail_transaction_line
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION count_parts();
CREATE TRIGGER arrivals_are_counted AFTER INSERT ON retail_transaction_payment
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION count_parts();

-- Count the lines or payments in a quarantined sale, which contains them in its JSON. A sale that is not JSON has none.
CREATE FUNCTION rows_aside(raw bytea, part text) RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    part_rows jsonb;
BEGIN
    part_rows := convert_from(raw, 'UTF8')::jsonb -> part;
    RETURN CASE jsonb_typeof(part_rows) WHEN 'array' THEN jsonb_array_length(part_rows) ELSE 0 END;
EXCEPTION WHEN data_exception THEN
    RETURN 0;
END $$;

-- Count quarantined rows, and the lines and payments in quarantined sales.
CREATE FUNCTION count_quarantined() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO arrival (database_id, "table", day, rows)
    SELECT database_id, "table", (first_seen_at AT TIME ZONE 'UTC')::date, sum(rows)
      FROM (SELECT database_id, "table", first_seen_at, 1 AS rows FROM fresh
            UNION ALL
            SELECT database_id, part, first_seen_at, rows_aside(raw, part)
              FROM fresh
             CROSS JOIN unnest(ARRAY['retail_transaction_line', 'retail_transaction_payment']) AS part
             WHERE "table" = 'retail_transaction') AS counted
     GROUP BY 1, 2, 3 HAVING sum(rows) > 0 ORDER BY 1, 2, 3
        ON CONFLICT (database_id, "table", day) DO UPDATE SET rows = arrival.rows + excluded.rows;
    RETURN NULL;
END $$;
CREATE TRIGGER arrivals_are_counted AFTER INSERT ON quarantine REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION count_quarantined();

-- The days of one table whose balance has to be counted: rows have arrived since the last count, or some rows are not
-- settled yet. Of the latter days, unless a run has just settled rows (`is_moved`), only those that nobody has counted
-- for five minutes, because people settle rows without a run. `days` limits the result to some days, unless it is NULL.
-- The function is simple enough for the planner to put it into the statement that calls it.
CREATE FUNCTION days_to_count(table_name text, databases bigint[], is_moved boolean, days text[])
RETURNS TABLE (database_id bigint, day date, rows bigint, since timestamptz, until timestamptz)
LANGUAGE sql STABLE AS $$
SELECT arrival.database_id, arrival.day, arrival.rows, arrival.day::timestamp AT TIME ZONE 'UTC',
       (arrival.day + 1)::timestamp AT TIME ZONE 'UTC'
  FROM arrival LEFT JOIN balance USING (database_id, "table", day)
 WHERE arrival."table" = table_name AND arrival.database_id = ANY (databases)
   AND (days IS NULL OR concat(arrival.database_id, ' ', arrival.day) = ANY (days))
   AND (balance.captured IS DISTINCT FROM arrival.rows
        OR (balance.waiting + balance.failed + balance.quarantined > 0
            AND (is_moved OR balance.counted_at < now() - interval '5 minutes')))
$$;
