-- How many lines each document has, and a hash over all it says.
--
-- Of three tables as a channel sent them, whose rows belong together by {key}. {of_header}: what
-- names header i; {header_text}: all it says, as a text that is the same for the same values
-- on both engines; {line_text} and {payment_text}: the same of row l.
WITH line AS (
  SELECT {key}, count(*) AS lines,
         string_agg({line_text}, E'\x1e' ORDER BY l.line_number) AS content
    FROM {lines} l GROUP BY {key}),
payment AS (
  SELECT {key}, string_agg({payment_text}, E'\x1e' ORDER BY l.line_number) AS content
    FROM {payments} l GROUP BY {key})
SELECT {of_header}, i.event_id, coalesce(line.lines, 0) AS lines,
       sha256(convert_to(concat_ws(E'\x1d', {header_text}, line.content, payment.content),
                         'UTF8')) AS content_hash
  FROM {headers} i LEFT JOIN line USING ({key}) LEFT JOIN payment USING ({key})
