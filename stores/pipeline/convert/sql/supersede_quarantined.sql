-- Close quarantined rows that a later, applied event of the same entity replaces.
--
-- {view}: the events with their state; {name}: their table. {is_same}: that the row in quarantine q
-- named the same of the customer's addresses, contacts, and so on, as event s does.
UPDATE quarantine q
   SET status = 'superseded', settled_at = now(), became = s.event_id,
       settled_because = 'A later event of the same database replaced it.'
  FROM guid_map m
 CROSS JOIN LATERAL (
       SELECT t.* FROM guid_map o
         JOIN {view} t ON t.async_account = o.async_account AND t.is_by_guid
        WHERE o.customer_id = m.customer_id
       UNION ALL
       SELECT t.* FROM customer k
         JOIN {view} t ON t.company_id = k.company_id AND t.account_number = k.account_number
                      AND NOT t.is_by_guid
        WHERE k.id = m.customer_id) s
 WHERE q.status = 'open' AND q.table = {name}
   AND m.async_account = q.async_account AND m.company_id = %(company)s
   AND s.database_id = q.database_id AND s.status IN ('applied', 'superseded')
   AND (s.generation, s.replication_counter) > (q.generation, q.row_key::bigint)
   AND {is_same} AND (%(some)s::bigint[] IS NULL OR q.id = ANY(%(some)s::bigint[]))
