-- Name the documents that break a rule in their rows of one table, with the first that they break.
--
-- {first_broken}: the place of the first broken rule in a row, or NULL. The lists say of each rule
-- what it is called, which field it is about, and what that may hold. {counter}: of a header its
-- own, so that it counts once; {own_counter}: what that of header i must be.
INSERT INTO {rejected} (replication_counter, reason, field, rule)
SELECT found.replication_counter, (%(codes)s::text[])[place + 1], (%(fields)s::text[])[place + 1],
       (%(allowed)s::text[])[place + 1]
  FROM (SELECT i.replication_counter, min(p.place) AS place
          FROM {headers} i
          JOIN (SELECT transaction_id, {counter} AS counter, {first_broken} AS place
                  FROM {incoming}) p
            ON p.transaction_id IS NOT DISTINCT FROM i.transaction_id
           AND i.replication_counter = {own_counter}
         WHERE p.place IS NOT NULL GROUP BY 1) found
    ON CONFLICT DO NOTHING
