-- Stage the incoming rows, or only those of the given counters.
--
-- Run by staging.insert_staged(). The rows are inserted in the order of the GUIDs, in which
-- conversion takes them, so that the events of a chunk are stored side by side. {event}: the
-- staging table; {incoming}: the rows. {columns}: those that are sent; {values}: as staging holds
-- them. {or_skip}: nothing, or the ON CONFLICT clause that skips known rows.
INSERT INTO {event} (origin, batch_id, database_id, company_id, generation, {columns})
SELECT %(origin)s, %(batch)s, %(database)s, %(company)s, %(generation)s, {values}
  FROM {incoming} incoming
 WHERE %(counters)s::bigint[] IS NULL OR incoming.replication_counter = ANY(%(counters)s::bigint[])
 ORDER BY incoming.async_account, incoming.replication_counter {or_skip}
