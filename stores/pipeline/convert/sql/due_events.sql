-- The open events that can be tried again, each with its table.
--
-- Run by open_events.due_keys(), and a part of take_due.sql. {is_due}: that event `opened` is due.
SELECT opened."table", opened.event_id FROM open_event opened
 WHERE opened.company_id = %(company)s AND opened.event_id <> ALL(%(skipped)s::uuid[])
   AND ({is_due})
 LIMIT %(limit)s
