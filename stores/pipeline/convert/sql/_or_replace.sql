-- What an insert does about a row that is there: it is replaced if it is the customer's, and older.
--
-- The end of the insert in merge_addresses and merge_attributes. Within a database the counter says
-- which is older, between databases the time. {conflict}: the unique key. {changed}: the
-- assignments of the columns.
ON CONFLICT ({conflict}) DO UPDATE
   SET {changed}, hq_version = excluded.hq_version,
       event_at = excluded.event_at, event_database = excluded.event_database,
       event_generation = excluded.event_generation, event_counter = excluded.event_counter
 WHERE old.customer_id = excluded.customer_id
   AND CASE WHEN old.event_database = excluded.event_database
            THEN (excluded.event_generation, excluded.event_counter)
               > (old.event_generation, old.event_counter)
            ELSE (excluded.event_at, database_place(excluded.event_database))
               > (old.event_at, database_place(old.event_database)) END
