-- Stage an event of HQ, which takes effect now.
--
-- Run by events.create_event(). {event}: the staging table. {incoming}: the event. {columns}: its
-- columns. {values}: the values of these as staging holds them.
INSERT INTO {event} (origin, batch_id, company_id, made_by_id, corrects, for_database_id, staged_at,
                     {columns})
SELECT 'hq', %(batch)s, %(company)s, %(by)s, %(corrects)s, %(database)s, incoming.occurred_at,
       {values}
  FROM {incoming} incoming
