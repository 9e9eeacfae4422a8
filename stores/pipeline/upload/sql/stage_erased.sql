-- Stage the events of erased customers without their data.
--
-- Run by staging.stage_erased(). {event}: the staging table; {incoming}: the rows. {of_erased}:
-- which of them are about erased customers, with the account number if the event named it.
-- {columns}: the id of the event and the key of the kind; {values}: what is kept of them.
INSERT INTO {event} (batch_id, database_id, company_id, generation, replication_counter,
                     occurred_at, operation, async_account, account_number, erased_at, {columns})
SELECT DISTINCT ON (incoming.event_id) %(batch)s, %(database)s, %(company)s, %(generation)s,
       incoming.replication_counter,
       CASE WHEN incoming.occurred_at BETWEEN %(earliest)s AND now()
            THEN incoming.occurred_at ELSE now() END,
       CASE WHEN normalize_key(incoming.operation) IN ('create', 'deactivate')
            THEN normalize_key(incoming.operation) ELSE 'update' END,
       incoming.async_account, erased.account_number, now(), {values}
  FROM {incoming} incoming JOIN {of_erased} erased USING (replication_counter)
    ON CONFLICT (event_id) DO NOTHING
