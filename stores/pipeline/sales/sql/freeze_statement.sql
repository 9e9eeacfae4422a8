-- Close a statement with the hash of all its rows.
--
-- Run by statement_states.freeze(). {content_hash}: a query for the hash; see _statement_hash.sql.
UPDATE statement SET posted_at = now(), content_hash = ({content_hash}) WHERE id = %(statement)s
