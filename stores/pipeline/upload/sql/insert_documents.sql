-- Keep the headers of documents that HQ does not know, and say by which id each is known now.
--
-- {values}: {columns} of header i, as HQ keeps them.
WITH kept AS (
  INSERT INTO retail_transaction (database_id, channel_id, company_id, generation, session_id,
                                  origin, made_by_id, corrects, shares_number, business_date,
                                  content_hash, order_reason, {columns})
  SELECT %(database)s, %(channel)s, %(company)s, %(generation)s, %(session)s,
         %(origin)s, %(made_by)s, %(corrects)s, i.replication_counter = ANY(%(others)s),
         coalesce(i.business_date, business_date_of(i.occurred_at, %(zone)s, %(day_ends_at)s)),
         d.content_hash,
         CASE WHEN i.transaction_type = 'customer_order' AND i.entry_status = 'concluded'
              THEN CASE WHEN i.gross_amount = 0 AND i.payment_amount <> 0
                        THEN 'nothing_ordered' ELSE 'not_ordered' END END,
         {values}
    FROM {headers} i JOIN {documents} d USING (replication_counter)
   ORDER BY i.replication_counter
      ON CONFLICT DO NOTHING
  RETURNING id, event_id)
INSERT INTO {kept}
SELECT k.id, i.transaction_id, event_id FROM kept k JOIN {headers} i USING (event_id)
