-- Close the quarantined rows that an applied, later event about the same entity replaces.
--
-- Run by convert.supersede_quarantined(). {view}: the events with their state; {name}: the staging
-- table, as a text. {is_same}: that `event` and the row in `quarantine` have the same key.
UPDATE quarantine
   SET status = 'superseded', settled_at = now(), became = event.event_id,
       settled_because = 'A later event of the same database replaced it.'
  FROM guid_map guid
 -- The events of the customer whom the quarantined row names.
 CROSS JOIN LATERAL (
       SELECT event.* FROM guid_map other
         JOIN {view} event ON event.async_account = other.async_account AND event.is_by_guid
        WHERE other.customer_id = guid.customer_id
       UNION ALL
       SELECT event.* FROM customer
         JOIN {view} event ON event.company_id = customer.company_id
                          AND event.account_number = customer.account_number
                          AND NOT event.is_by_guid
        WHERE customer.id = guid.customer_id) event
 WHERE quarantine.status = 'open' AND quarantine."table" = {name}
   AND guid.async_account = quarantine.async_account AND guid.company_id = %(company)s
   AND event.database_id = quarantine.database_id AND event.status IN ('applied', 'superseded')
   AND CASE WHEN event.origin = 'rts' THEN event.staged_at > quarantine.last_seen_at
            ELSE (event.generation, event.replication_counter)
               > (quarantine.generation, quarantine.row_key::bigint) END
   AND {is_same}
   AND (%(some)s::bigint[] IS NULL OR quarantine.id = ANY(%(some)s::bigint[]))
