-- Stage the events of erased people without what they say.
--
-- Run by staging.stage_erased(). {event}: the staging table; {incoming}: the rows. {of_erased}:
-- which of them these are, and by which account the customer is known where the event named one.
-- {columns}: what names one of the customer's addresses, contacts, and so on; {values}: what is
-- left of it.
INSERT INTO {event} (batch_id, database_id, company_id, generation, event_id,
                     replication_counter, occurred_at, operation, async_account, account_number,
                     erased_at {columns})
SELECT DISTINCT ON (incoming.event_id) %(batch)s, %(database)s, %(company)s, %(generation)s,
       incoming.event_id, incoming.replication_counter,
       CASE WHEN incoming.occurred_at BETWEEN %(earliest)s AND now()
            THEN incoming.occurred_at ELSE now() END,
       CASE WHEN normalize_key(incoming.operation) IN ('create', 'deactivate')
            THEN normalize_key(incoming.operation) ELSE 'update' END,
       incoming.async_account, erased.account_number, now() {values}
  FROM {incoming} incoming JOIN {of_erased} erased USING (replication_counter)
    ON CONFLICT (event_id) DO NOTHING
