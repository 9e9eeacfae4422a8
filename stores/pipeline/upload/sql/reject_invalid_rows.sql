-- Reject the incoming rows that break a rule, each with the first rule that it breaks.
--
-- Run by staging.reject_invalid_rows(). `codes`, `fields` and `allowed` are lists with the code of
-- each rule, the field it is about, and what that may hold. {incoming}: the rows; {rejected}: the
-- work table of rejected rows. {first_broken}: the position of the first broken rule in these
-- lists, from 0, or NULL.
INSERT INTO {rejected} (replication_counter, reason, field, rule)
SELECT replication_counter, (%(codes)s::text[])[position + 1] AS reason,
       (%(fields)s::text[])[position + 1] AS field, (%(allowed)s::text[])[position + 1] AS rule
  -- OFFSET 0, because the rules would be planned once for each use of the position otherwise.
  FROM (SELECT replication_counter, {first_broken} AS position FROM {incoming} incoming
        OFFSET 0) broken
 WHERE position IS NOT NULL
    ON CONFLICT DO NOTHING
