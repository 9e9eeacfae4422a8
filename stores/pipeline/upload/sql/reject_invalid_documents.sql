-- Name the documents that break a rule in their rows of one table, with the first that they break.
--
-- Run by documents.reject_invalid_documents(), for headers, lines and payments. {headers}: the
-- documents; {incoming}: their rows of the table; {rejected}: the work table that names them.
-- {first_broken}: the place of the first broken rule in a row, or NULL. The lists in the parameters
-- say of each rule, from place 0, what it is called, which field it is about, and what that may
-- hold. {counter}: of a header its own, so that it counts once; {row_counter}: what that of
-- `header` must be.
INSERT INTO {rejected} (replication_counter, reason, field, rule)
SELECT broken.replication_counter, (%(codes)s::text[])[place + 1], (%(fields)s::text[])[place + 1],
       (%(allowed)s::text[])[place + 1]
  FROM (SELECT header.replication_counter, min(row.place) AS place
          FROM {headers} header
          JOIN (SELECT transaction_id, {counter} AS counter, {first_broken} AS place
                  FROM {incoming}) row
            ON row.transaction_id IS NOT DISTINCT FROM header.transaction_id
           AND header.replication_counter = {row_counter}
         WHERE row.place IS NOT NULL GROUP BY header.replication_counter) broken
    ON CONFLICT DO NOTHING
