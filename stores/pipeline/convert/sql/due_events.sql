-- The open events that can be tried again, each with its table.
--
-- {is_due}: that open event o is due.
SELECT o."table", o.event_id FROM open_event o
 WHERE o.company_id = %(company)s AND o.event_id <> ALL(%(passed)s::uuid[]) AND ({is_due})
 LIMIT %(limit)s
