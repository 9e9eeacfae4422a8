-- Close the quarantined rows that have come again and were staged, since the rules changed.
--
-- Run by staging.close_returned(). They come from the same database, or from another one of the
-- channel: merged from a register. {incoming}: the rows that were staged. {known}, {sent}: what the
-- quarantined row and the `incoming` one say, the same in each database.
UPDATE quarantine
   SET status = 'released', settled_at = now(), became = quarantine.event_id,
       settled_because = 'It came again and passed the rules.'
  FROM {incoming} incoming, channel_database sender
 WHERE quarantine.status = 'open' AND quarantine."table" = %(table)s
   AND quarantine.event_id = incoming.event_id AND quarantine.reason <> 'event_conflict'
   AND sender.id = quarantine.database_id AND sender.channel_id = %(channel)s
   AND CASE WHEN sender.id = %(database)s
            THEN quarantine.generation = %(generation)s
                 AND quarantine.row_key = incoming.replication_counter::text
            ELSE {known} = {sent} END
