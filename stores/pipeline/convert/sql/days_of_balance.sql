-- The days on which something arrived in one table, each with its channel database.
SELECT DISTINCT {day} FROM arrival a
 WHERE a."table" = {name} AND a.database_id IN ({databases}) ORDER BY 1
