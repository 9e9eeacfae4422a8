-- The rows of one table, each with its key as a text and the hash of its content.
--
-- {name}: the name of the table. {rows}: its rows r. {key}, {content}: texts of row r that are the
-- same on both engines and at HQ. {part}: the id of an address, a contact or another detail.
SELECT {name} AS "table", {key} AS key,
       encode(sha256(convert_to({content}, 'UTF8')), 'hex') AS content,
       r.company, r.account_number, {part} AS part, r.hq_version, r.is_active
  FROM {rows} r
