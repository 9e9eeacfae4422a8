-- The rows of one table: each with its key as a text, and the hash of its content.
--
-- A part of fingerprints, rows_in_buckets and wrong_rows, as their first CTE. {name}: the name of
-- the table. {rows}: its rows. {key}, {content}: texts of `row` that are the same on both engines
-- and at HQ. {part}: the id of an address, a contact or another detail.
hashed_row AS (
  SELECT {name} AS "table", {key} AS key,
         encode(sha256(convert_to({content}, 'UTF8')), 'hex') AS content,
         row.company, row.account_number, {part} AS part, row.hq_version, row.is_active
    FROM {rows} row)
