-- Delete the gathered rows that another database of the channel has sent, and that are quarantined.
--
-- Run by quarantine.insert_quarantined(). Tills merge what a register wrote offline into its
-- channel's database, so that both send it. {to_quarantine}: the gathered rows. {known}, {sent}:
-- what the quarantined and the gathered `row` say, the same in each database.
DELETE FROM {to_quarantine} row USING quarantine known, channel_database sender
 WHERE known.event_id = row.event_id AND known."table" = %(table)s
   AND known.database_id = sender.id AND sender.id <> %(database)s
   AND sender.channel_id = %(channel)s AND {known} = {sent}
