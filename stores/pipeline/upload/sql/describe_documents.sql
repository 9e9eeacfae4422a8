-- Describe documents: how many lines each has, and a hash of all it says. One row is a document.
--
-- Run by documents.described_documents(), and a part of integrity/changed_documents. {headers},
-- {lines} and {payments} are three tables as a channel sent them, whose rows belong together by the
-- columns {key}. {of_header}: other columns to return. {header_text}: all that `header` says, as a
-- text that is the same on both engines; {line_text} and {payment_text}: the same of `row`.
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
