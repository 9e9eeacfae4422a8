-- Stage the events of erased people without what they say.
--
-- {columns}: what names one of the customer's addresses, contacts, and so on; {values}: what is left
-- of it. {of_erased}: which rows these are, and by which account the customer is known where the event
-- named one.
INSERT INTO {event} (batch_id, database_id, company_id, generation, event_id,
                     replication_counter, occurred_at, operation, async_account, account_number,
                     erased_at {columns})
SELECT DISTINCT ON (i.event_id) %(batch)s, %(database)s, %(company)s, %(generation)s,
       i.event_id, i.replication_counter,
       CASE WHEN i.occurred_at BETWEEN %(earliest)s AND now() THEN i.occurred_at ELSE now() END,
       CASE WHEN normalize_key(i.operation) IN ('create', 'deactivate') THEN normalize_key(i.operation)
            ELSE 'update' END,
       i.async_account, e.account_number, now() {values}
  FROM {incoming} i JOIN {of_erased} e USING (replication_counter)
    ON CONFLICT (event_id) DO NOTHING
