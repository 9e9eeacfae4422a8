-- Judge each row of some customers, of one kind, by the events that could have written it.
--
-- Within a database the later counter wins. Between databases time decides, and never that of a
-- till alone; a later event of one database counts as no earlier than those before it.
--
-- {key}: what names row r, as one text. {is_about_row}: that event t is about row r.
INSERT INTO {shown}
WITH judged AS (
  SELECT l.customer_id, {key} AS key, r.event_at,
         least(t.occurred_at, t.staged_at) AS at, t.staged_at,
         coalesce(t.database_id, 0) = coalesce(r.event_database, 0) AS is_same,
         (t.generation, t.replication_counter) = (r.event_generation, r.event_counter) AS is_it,
         (t.generation, t.replication_counter) > (r.event_generation, r.event_counter) AS is_later,
         row_number() OVER (PARTITION BY l.customer_id, {key}, t.database_id
                            ORDER BY t.generation DESC, t.replication_counter DESC) = 1 AS is_last
    FROM {looked_at} l JOIN {table} r ON r.{owner} = l.customer_id
    LEFT JOIN {event} t ON t.customer_id = l.customer_id
          AND t.status IN ('applied', 'superseded') AND {is_about_row}
   WHERE r.event_counter IS NOT NULL)
SELECT {name}, customer_id, key, coalesce(bool_or(is_same AND is_it), false),
       coalesce(bool_or(is_same AND is_later), false),
       coalesce(max(at) FILTER (WHERE is_last AND NOT is_same)
              > max(at) FILTER (WHERE is_same), false),
       event_at > max(staged_at)
  FROM judged GROUP BY customer_id, key, event_at
