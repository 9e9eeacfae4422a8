-- Counts the rows that arrive from channels by database, table and day (UTC), in the transaction that stages or
-- quarantines them and whoever does it: the nothing-lost balance is held against these counts.

-- Staged rows. What headquarters makes itself, and what leaves quarantine, has no session: it never arrived, or was
-- counted when it did.
CREATE FUNCTION count_staged() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO arrival (database_id, "table", day, rows)
    SELECT database_id, TG_TABLE_NAME, (staged_at AT TIME ZONE 'UTC')::date, count(*)
      FROM fresh WHERE session_id IS NOT NULL GROUP BY 1, 2, 3
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
CREATE TRIGGER arrivals_are_counted AFTER INSERT ON retail_transaction
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION count_staged();

-- Lines and payments of staged transactions, by the session and day of their transaction.
CREATE FUNCTION count_parts() RETURNS trigger LANGUAGE plpgsql
SET enable_seqscan = off AS $$
BEGIN
    INSERT INTO arrival (database_id, "table", day, rows)
    SELECT t.database_id, TG_TABLE_NAME, (t.staged_at AT TIME ZONE 'UTC')::date, count(*)
      FROM fresh p JOIN retail_transaction t ON t.id = p.transaction_id
     WHERE t.session_id IS NOT NULL GROUP BY 1, 2, 3
        ON CONFLICT (database_id, "table", day) DO UPDATE SET rows = arrival.rows + excluded.rows;
    RETURN NULL;
END $$;
CREATE TRIGGER arrivals_are_counted AFTER INSERT ON retail_transaction_line
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION count_parts();
CREATE TRIGGER arrivals_are_counted AFTER INSERT ON retail_transaction_payment
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION count_parts();

-- How many lines or payments a quarantined sale holds: it is kept as it came, with its parts inside.
CREATE FUNCTION rows_aside(raw bytea, part text) RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    found jsonb;
BEGIN
    found := convert_from(raw, 'UTF8')::jsonb -> part;
    RETURN CASE jsonb_typeof(found) WHEN 'array' THEN jsonb_array_length(found) ELSE 0 END;
EXCEPTION WHEN data_exception THEN
    RETURN 0;
END $$;

-- Quarantined rows, and the lines and payments inside quarantined sales.
CREATE FUNCTION count_set_aside() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO arrival (database_id, "table", day, rows)
    SELECT database_id, "table", (first_seen_at AT TIME ZONE 'UTC')::date, sum(rows)
      FROM (SELECT database_id, "table", first_seen_at, 1 AS rows FROM fresh
            UNION ALL
            SELECT q.database_id, part.name, q.first_seen_at, rows_aside(q.raw, part.name)
              FROM fresh q, (VALUES ('retail_transaction_line'),
                                    ('retail_transaction_payment')) part (name)
             WHERE q."table" = 'retail_transaction') came
     GROUP BY 1, 2, 3 HAVING sum(rows) > 0 ORDER BY 1, 2, 3
        ON CONFLICT (database_id, "table", day) DO UPDATE SET rows = arrival.rows + excluded.rows;
    RETURN NULL;
END $$;
CREATE TRIGGER arrivals_are_counted AFTER INSERT ON quarantine REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION count_set_aside();
