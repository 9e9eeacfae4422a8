-- Reject the documents that break a rule in their rows of one table, each with its first such rule.
--
-- Run by documents.reject_invalid_documents(), once for headers, lines and payments each. `codes`,
-- `fields` and `allowed` are lists with the code of each rule, the field it is about, and what that
-- may hold. {headers}: the documents; {incoming}: their rows of the table; {rejected}: the work
-- table of rejected documents. {first_broken}: the position of the first broken rule of a row in
-- these lists, from 0, or NULL. {counter}: of a header its counter, as two headers may have the
-- same id; {row_counter}: the counter that `header` must then have.
INSERT INTO {rejected} (replication_counter, reason, field, rule)
SELECT broken.replication_counter, (%(codes)s::text[])[position + 1] AS reason,
       (%(fields)s::text[])[position + 1] AS field, (%(allowed)s::text[])[position + 1] AS rule
  FROM (SELECT header.replication_counter, min(row.position) AS position
          FROM {headers} header
          -- OFFSET 0, because the rules would be planned once for each use of the position otherwise.
          JOIN (SELECT transaction_id, {counter} AS counter, {first_broken} AS position
                  FROM {incoming} OFFSET 0) row
            ON row.transaction_id IS NOT DISTINCT FROM header.transaction_id
           AND header.replication_counter = {row_counter}
         WHERE row.position IS NOT NULL GROUP BY header.replication_counter) broken
    ON CONFLICT DO NOTHING
