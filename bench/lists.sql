-- Fills HQ as years of tills would: so many customers with GUIDs, events, contacts and four
-- databases, a fifth as many runs, sessions and quarantined rows. Triggers and secondary indexes are off.
CREATE FUNCTION pg_temp.syllables(how_many int, seed bigint) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg((ARRAY['an','bo','cor','da','el','fen','ga','hil','is','jo','ka','lun','mar','nor',
                             'os','pe','ri','sa','tor','ul','van','wil','xa','yn','zo','ber','den','lis',
                             'mon','ter'])[1 + abs(hashint8extended(seed, n)) %% 30], '')
      FROM generate_series(1, how_many) n $$;

CREATE TEMP TABLE first_names AS
SELECT n, initcap(pg_temp.syllables(2, n)) AS first_name FROM generate_series(0, 699) n;
CREATE TEMP TABLE last_names AS
SELECT n, initcap(pg_temp.syllables(3, n)) AS last_name FROM generate_series(0, 30010) n;
CREATE TEMP TABLE person AS
SELECT p.n, gen_random_uuid() AS guid, first_name, last_name,
       '+31 6 ' || lpad((p.n * 7919 %% 100000000)::text, 8, '0') AS phone,
       now() - (%(rows)s - p.n) * interval '2 years' / %(rows)s AS at
  FROM generate_series(1::bigint, %(rows)s) p (n)
  JOIN first_names f ON f.n = p.n %% 700
  JOIN last_names l ON l.n = p.n * 7919 %% 30011
 ORDER BY p.n;
ANALYZE person;

UPDATE company SET change_no = %(rows)s WHERE code = 'BNCH';
INSERT INTO customer (id, company_id, account_number, number, change_no, customer_type, first_name, last_name,
                      name, email, phone, language, currency, created_at, modified_at, event_at)
SELECT n, 'BNCH', 'C-' || lpad(n::text, 8, '0'), n, n, 'person', first_name, last_name,
       first_name || ' ' || last_name, lower(first_name || '.' || last_name) || n || '@example.com',
       phone, 'en-us', 'EUR', at, at, at
  FROM person;
INSERT INTO guid_map (async_account, company_id, customer_id, channel_id, created_at)
SELECT guid, 'BNCH', n, (SELECT min(id) FROM channel) + n %% 4, at FROM person;
INSERT INTO customer_contact (contact_id, customer_id, kind, locator, event_at)
SELECT gen_random_uuid(), n, CASE WHEN n %% 2 = 0 THEN 'email' ELSE 'phone' END,
       CASE WHEN n %% 2 = 0 THEN 'second' || n || '@example.com' ELSE phone END, at
  FROM person;
INSERT INTO customer_change (customer_id, change_no, version, made_at) SELECT n, n, 1, at FROM person;
-- One database lacks the last thousandth of the changes.
UPDATE channel_database SET position = CASE WHEN id %% 4 = 0 THEN %(rows)s * 999 / 1000 ELSE %(rows)s END;

INSERT INTO upload_session (id, run_id, database_id, parts, size_bytes, message, started_at, applied_at,
                            status, read, staged, unchanged, quarantined, waiting)
SELECT gen_random_uuid(), NULL, (SELECT min(id) FROM channel_database) + n %% 4, 1, 4000, '[]',
       now() - n * interval '1 minute', now() - n * interval '1 minute', 'applied', 5, 5, 0, 0, 0
  FROM generate_series(1, %(rows)s / 5) n;
INSERT INTO download_session (id, run_id, database_id, sends_single_customers, parts, size_bytes, message,
                              started_at, applied_at, status, job, customers, rows)
SELECT gen_random_uuid(), NULL, (SELECT min(id) FROM channel_database) + n %% 4, true, 1, 4000, '[]',
       now() - n * interval '1 minute', now() - n * interval '1 minute', 'applied', '1010', 5, 9
  FROM generate_series(1, %(rows)s / 5) n;

-- A hundred batches. Of the newest events one in a hundred waits for conversion, a seventh of them for its account; one in
-- five thousand has failed.
INSERT INTO upload_batch (id, company_id, database_id, session_id, rows, staged_at, converted_at)
SELECT b, 'BNCH', (SELECT min(id) FROM channel_database), (SELECT id FROM upload_session LIMIT 1),
       2 * %(rows)s / 100, now() - (101 - b) * interval '1 hour',
       CASE WHEN b < 100 THEN now() - (101 - b) * interval '1 hour' END
  FROM generate_series(1, 100) b;
SELECT setval('upload_batch_id_seq', 100);
INSERT INTO async_customer (event_id, batch_id, database_id, company_id, replication_counter, occurred_at,
                            operation, async_account, staged_at, customer_type, first_name, last_name,
                            name, email, phone)
SELECT gen_random_uuid(), 1 + (n - 1)::bigint * 100 / %(rows)s,
       (SELECT min(id) FROM channel_database) + n %% 4, 'BNCH', n, at, 'create',
       CASE WHEN n > %(rows)s * 0.99 OR n %% 5000 = 0 THEN gen_random_uuid() ELSE guid END,
       at, 'person', first_name, last_name, first_name || ' ' || last_name,
       lower(first_name || '.' || last_name) || n || '@example.com', phone
  FROM person;
INSERT INTO open_event ("table", event_id, batch_id, company_id, async_account, status, reason)
SELECT 'async_customer', event_id, batch_id, company_id, async_account,
       CASE WHEN replication_counter %% 5000 = 0 THEN 'failed' ELSE 'waiting' END,
       CASE WHEN replication_counter %% 5000 = 0 THEN 'identity_mismatch' ELSE 'account_unknown' END
  FROM async_customer
 WHERE replication_counter %% 5000 = 0
    OR replication_counter > %(rows)s * 0.99 AND replication_counter %% 7 = 0;
INSERT INTO async_contact (event_id, batch_id, database_id, company_id, replication_counter, occurred_at,
                           operation, async_account, staged_at, contact_id, kind, locator)
SELECT gen_random_uuid(), 1 + (n - 1)::bigint * 100 / %(rows)s,
       (SELECT min(id) FROM channel_database) + n %% 4, 'BNCH', n, at, 'create', guid, at,
       gen_random_uuid(), 'phone', phone
  FROM person;

INSERT INTO quarantine (database_id, "table", row_key, event_id, async_account, payload_hash, reason,
                        field, raw, status, session_id, first_seen_at, last_seen_at, settled_at,
                        settled_because)
SELECT (SELECT min(id) FROM channel_database) + n %% 4, 'async_customer', n::text, gen_random_uuid(),
       guid, sha256(n::text::bytea), 'too_long', 'last_name', convert_to('{"last_name": "..."}', 'UTF8'),
       CASE WHEN is_open THEN 'open' ELSE 'superseded' END,
       (SELECT id FROM upload_session LIMIT 1), at, at,
       CASE WHEN NOT is_open THEN at END,
       CASE WHEN is_open THEN '' ELSE 'A later event of the same database replaced it.' END
  FROM (SELECT *, n %% 100 = 0 AS is_open FROM person) p WHERE n %% 5 = 0;

INSERT INTO job_run (id, job, scope, channels, companies, started_by, status, stage, created_at,
                     started_at, ended_at, counts, message, error)
SELECT gen_random_uuid(), (ARRAY['pipeline','P-0001','sync-customers','1010'])[1 + n %% 4], '*', '[]', '[]',
       'schedule', CASE WHEN n %% 1000 = 0 THEN 'failed' ELSE 'succeeded' END, 1,
       now() - n * interval '1 minute', now() - n * interval '1 minute',
       now() - n * interval '1 minute' + n %% 60 * interval '1 second', '{}', '[]', ''
  FROM generate_series(1, %(rows)s / 5) n;
SELECT setval('customer_id_seq', %(rows)s);
