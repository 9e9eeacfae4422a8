-- Stage the events of erased people without what they say.
--
-- {columns}: the customer, and what names one of its addresses, contacts, and so on; {values}: what
-- is left of them. {of_erased}: which rows these are, and whose.
INSERT INTO {event} (database_id, company_id, generation, session_id, event_id,
                     replication_counter, occurred_at, operation, async_account, status, {columns})
SELECT DISTINCT ON (i.event_id) %(database)s, %(company)s, %(generation)s, %(session)s,
       i.event_id, i.replication_counter,
       CASE WHEN i.occurred_at BETWEEN %(earliest)s AND now() THEN i.occurred_at ELSE now() END,
       CASE WHEN normalize_key(i.operation) IN ('create', 'deactivate') THEN normalize_key(i.operation)
            ELSE 'update' END,
       i.async_account, 'erased', {values}
  FROM {incoming} i JOIN {of_erased} e USING (replication_counter)
    ON CONFLICT (event_id) DO NOTHING
