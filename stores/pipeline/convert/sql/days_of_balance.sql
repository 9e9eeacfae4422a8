-- List the days on which something arrived in one table. One row is a day of a channel database.
--
-- Run by balance.count_table(), if the database refuses to count some of them. {name}: the table,
-- as a text.
SELECT DISTINCT concat(arrival.database_id, ' ', arrival.day) AS day FROM arrival
 WHERE arrival."table" = {name} AND arrival.database_id = ANY(%(databases)s) ORDER BY day
