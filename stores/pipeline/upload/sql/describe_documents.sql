-- How many lines each document has, and a hash over all it says.
--
-- Run by documents.described_documents(), and a part of integrity/changed_documents. Of three
-- tables as a channel sent them, {headers}, {lines} and {payments}, whose rows belong together by
-- {key}. {of_header}: what names `header`; {header_text}: all it says, as a text that is the same
-- for the same values on both engines; {line_text} and {payment_text}: the same of `row`.
WITH line AS (
  SELECT {key}, count(*) AS lines,
         string_agg({line_text}, E'\x1e' ORDER BY row.line_number) AS content
    FROM {lines} row GROUP BY {key}),
payment AS (
  SELECT {key}, string_agg({payment_text}, E'\x1e' ORDER BY row.line_number) AS content
    FROM {payments} row GROUP BY {key})
SELECT {of_header}, header.event_id, coalesce(line.lines, 0) AS lines,
       sha256(convert_to(concat_ws(E'\x1d', {header_text}, line.content, payment.content),
                         'UTF8')) AS content_hash
  FROM {headers} header LEFT JOIN line USING ({key}) LEFT JOIN payment USING ({key})
