-- Stage the incoming rows, or some of them.
--
-- Run by staging.insert_staged(). In the order of the GUIDs, as conversion takes them: the events
-- of a chunk lie side by side. {event}: the staging table; {incoming}: the rows. {values}:
-- {columns} as staging holds them. {or_skip}: what is done about an event that is there.
INSERT INTO {event} (batch_id, database_id, company_id, generation, {columns})
SELECT %(batch)s, %(database)s, %(company)s, %(generation)s, {values}
  FROM {incoming} incoming
 WHERE %(counters)s::bigint[] IS NULL OR incoming.replication_counter = ANY(%(counters)s::bigint[])
 ORDER BY incoming.async_account, incoming.replication_counter {or_skip}
