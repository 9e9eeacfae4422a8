-- Find open events that are due, which means that they can be tried again. One row is an event.
--
-- Run by open_events.due_keys(), and a part of take_due.sql. {is_due}: that event `opened` is due.
SELECT opened."table", opened.event_id FROM open_event opened
 WHERE opened.company_id = %(company)s AND opened.event_id <> ALL(%(skipped)s::uuid[])
   AND ({is_due})
 LIMIT %(limit)s
