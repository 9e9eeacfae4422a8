-- Compare each row of some customers with the events that could have written it.
--
-- Within a database the event with the highest counter must be shown. Between databases the later
-- event must be shown; an event counts as no later than its arrival. {key}: the key of row r as one
-- text. {is_about_row}: that event t is about row r.
INSERT INTO {shown}
WITH candidate AS (
  SELECT checked.customer_id, {key} AS key, r.event_at,
         least(t.occurred_at, t.staged_at) AS at, t.staged_at,
         coalesce(t.database_id, 0) = coalesce(r.event_database, 0) AS is_of_shown_database,
         (t.generation, t.replication_counter) = (r.event_generation, r.event_counter) AS is_shown,
         (t.generation, t.replication_counter) > (r.event_generation, r.event_counter) AS is_newer,
         row_number() OVER (PARTITION BY checked.customer_id, {key}, t.database_id
                            ORDER BY t.generation DESC, t.replication_counter DESC) = 1
           AS is_last_of_database
    FROM {looked_at} checked
    JOIN {table} r ON r.{owner} = checked.customer_id
    LEFT JOIN {event} t ON t.customer_id = checked.customer_id
     AND t.status IN ('applied', 'superseded') AND {is_about_row}
   WHERE r.event_counter IS NOT NULL)
SELECT {name}, customer_id, key,
       coalesce(bool_or(is_of_shown_database AND is_shown), false) AS has_event,
       coalesce(bool_or(is_of_shown_database AND is_newer), false) AS is_outdated,
       coalesce(max(at) FILTER (WHERE is_last_of_database AND NOT is_of_shown_database)
              > max(at) FILTER (WHERE is_of_shown_database), false) AS is_overtaken,
       event_at > max(staged_at) AS is_ahead
  FROM candidate
 GROUP BY customer_id, key, event_at
