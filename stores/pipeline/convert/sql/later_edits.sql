-- List the edits that came after the last removal of an entity. One row is an edit, and `has_seen`
-- says whether its maker knew of the removal.
--
-- Run by removals.restore_removals(). {removed}: the removed entities (customers, addresses,
-- contacts, affiliations or attributes). {history}: the events that were applied to their
-- customers. {entity}: the columns that identify an entity; {entity_of_event}: their values in
-- `event`, {columns_of_event}: the same with their names; {entity_of_edit}: the columns of `edit`.
WITH applied AS (
  SELECT {columns_of_event}, event.event_id, event.operation, event.database_id, event.generation,
         event.replication_counter, event.applied_at, event.corrects, event.based_on,
         event.staged_at, least(event.occurred_at, event.staged_at) AS written_at,
         CASE WHEN event.created_offline
              THEN merged_from(event.database_id, event.terminal_id) END AS register,
         -- Within a database, no event is earlier than the ones before it.
         max(least(event.occurred_at, event.staged_at)) OVER (
             PARTITION BY {entity_of_event}, event.database_id
             ORDER BY event.generation, event.replication_counter) AS at,
         database_place(event.database_id) AS place
    FROM {history} event WHERE event.customer_id IN (SELECT customer_id FROM {removed})),
stated AS (
  SELECT applied.*, row_number() OVER (PARTITION BY {entity}
                                       ORDER BY at, place, generation, replication_counter) AS turn
    FROM applied JOIN {removed} USING ({entity})),
removal AS (
  SELECT DISTINCT ON ({entity}) * FROM stated WHERE operation = 'deactivate'
   ORDER BY {entity}, turn DESC)
SELECT {entity_of_edit}, edit.event_id AS edit, removal.event_id AS removal,
       edit.database_id AS edited_in, removal.database_id AS removed_in,
       edit.written_at AS edited_at, removal.written_at AS removed_at,
       CASE
       -- An earlier conversion has judged that it was not seen, and recorded the conflict.
       WHEN EXISTS (SELECT FROM edit_conflict conflict
                     WHERE conflict.lost_event = edit.event_id
                       AND conflict.kept_event = removal.event_id
                       AND conflict.field = 'is_active') THEN false
       -- An earlier conversion has judged that it was seen.
       WHEN edit.applied_at <> now() AND removal.applied_at <> now() THEN true
       -- The same database had removed it.
       WHEN edit.database_id = removal.database_id AND edit.generation = removal.generation
            AND edit.register IS NOT DISTINCT FROM removal.register
       THEN true
       -- HQ did not have the removal yet when it applied the edit.
       WHEN edit.applied_at < removal.applied_at THEN false
       -- A person at HQ who only corrected a till's row has not looked.
       WHEN edit.corrects IS NOT NULL THEN false
       ELSE removal.applied_at < edit.applied_at
            AND coalesce(removal.applied_at <= seen_until(
                    edit.customer_id, edit.database_id, edit.register, edit.based_on,
                    edit.written_at, edit.staged_at), false)
       END AS has_seen
  FROM stated edit JOIN removal USING ({entity})
 WHERE edit.turn > removal.turn AND edit.operation <> 'deactivate'
