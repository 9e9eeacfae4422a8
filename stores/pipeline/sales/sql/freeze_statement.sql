-- Close a statement with the hash of all its rows.
UPDATE statement SET posted_at = now(), content_hash = ({content_hash}) WHERE id = %(statement)s
