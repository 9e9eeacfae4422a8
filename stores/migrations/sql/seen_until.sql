-- From which register a till has merged an event that was created offline, if it came from a main database. NULL: none.
--
-- A database of which the channel has no register, too, has all that its tills write, offline or not.
CREATE FUNCTION merged_from(channel_database bigint, terminal text)
RETURNS text LANGUAGE sql STABLE
RETURN CASE WHEN EXISTS (
    SELECT FROM channel_database main
      JOIN channel_database register ON register.channel_id = main.channel_id AND register.id <> main.id
     WHERE main.id = merged_from.channel_database AND main.name = '') THEN concat('terminal ', terminal) END;

-- Up to which moment the maker of an event had seen what HQ had applied to a customer. NULL: HQ cannot say.
--
-- If the event names the version that it is based on, that is when this version was made; a version that HQ had not
-- made when the event arrived counts as not named. Otherwise a person at HQ, who has no `channel_database`, has seen all
-- that had been applied before. A till has seen the latest version that was delivered to its database before it wrote,
-- by its own time; what was delivered to a register, from which an event was merged, HQ cannot say.
CREATE FUNCTION seen_until(customer bigint, channel_database bigint, register text, based_on bigint,
                           written_at timestamptz, staged_at timestamptz)
RETURNS timestamptz LANGUAGE sql STABLE
RETURN coalesce(
    (SELECT min(change.made_at) FROM customer_change change
      WHERE change.customer_id = customer AND change.version = based_on AND change.made_at <= staged_at),
    CASE WHEN channel_database IS NULL THEN written_at
         WHEN register IS NOT NULL THEN NULL
         ELSE (SELECT max(change.made_at)
                 FROM customer_delivery delivery JOIN customer_change change USING (customer_id, change_no)
                WHERE delivery.customer_id = customer AND delivery.database_id = channel_database
                  AND delivery.delivered_at <= written_at) END);
