-- The rows of one table, each with a text of its key and a hash of what it says.
--
-- As texts that are the same on both engines and in HQ: {key} and {content} are those of row r,
-- {part} names one of a customer's addresses, contacts, and so on.
SELECT {name} AS "table", {key} AS key,
       encode(sha256(convert_to({content}, 'UTF8')), 'hex') AS content,
       r.company, r.account_number, {part} AS part, r.hq_version, r.is_active
  FROM {rows} r
