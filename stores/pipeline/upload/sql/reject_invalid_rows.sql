-- Name the incoming rows that break a rule, with the first that they break.
--
-- Run by staging.reject_invalid_rows(). {incoming}: the rows; {rejected}: the work table that names
-- them. {first_broken}: the place of the first broken rule in a row of `incoming`, or NULL. The
-- lists in the parameters say of each rule, from place 0, what it is called, which field it is
-- about, and what that may hold.
INSERT INTO {rejected} (replication_counter, reason, field, rule)
SELECT replication_counter, (%(codes)s::text[])[place + 1], (%(fields)s::text[])[place + 1],
       (%(allowed)s::text[])[place + 1]
  FROM {incoming} incoming, LATERAL (SELECT {first_broken} AS place) rule
 WHERE place IS NOT NULL
    ON CONFLICT DO NOTHING
