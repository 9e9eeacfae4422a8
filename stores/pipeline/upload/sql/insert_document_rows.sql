-- Keep the lines or payments of the documents that were kept.
--
-- {values}: {columns} of row i, as HQ keeps them.
INSERT INTO {table} (transaction_id, {columns})
SELECT k.id, {values}
  FROM {incoming} i JOIN {kept} k USING (transaction_id)
 ORDER BY 1, i.line_number
