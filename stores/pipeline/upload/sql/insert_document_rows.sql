-- Store the lines or payments of the documents that were stored.
--
-- Run by documents.inserted_documents(). {table}: HQ's table; {incoming}: the rows; {kept}: the
-- documents, with their ids. {columns}: those that are sent; {values}: the same of `row`, as HQ
-- keeps them.
INSERT INTO {table} (transaction_id, {columns})
SELECT kept.id, {values}
  FROM {incoming} row JOIN {kept} kept USING (transaction_id)
 ORDER BY kept.id, row.line_number
