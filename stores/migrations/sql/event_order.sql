-- The key that orders events of the same moment: the event of the database with the greater key counts as the later.
-- Headquarters has no database; its key is empty and comes first.
--
-- Channel code and register name identify a database and are the same in every installation, as its id is not. The
-- "C" collation makes the order independent of the server's language.
CREATE FUNCTION database_place(database bigint) RETURNS text
LANGUAGE sql STABLE
RETURN coalesce((SELECT channel.code || ' ' || channel_database.name
                   FROM channel_database JOIN channel ON channel.id = channel_database.channel_id
                  WHERE channel_database.id = database), '') COLLATE "C";
