-- Store the headers of documents that HQ does not know, and enter their ids in {kept}.
--
-- Run by documents.inserted_documents(). A document whose number another channel has used is stored
-- only if its counter is in `others`. {headers}: the incoming headers; {described}: their hashes.
-- {columns}: those that are sent; {values}: the same of `header`, as HQ keeps them.
WITH kept AS (
  INSERT INTO retail_transaction (database_id, channel_id, company_id, generation, session_id,
                                  origin, made_by_id, corrects, shares_number, business_date,
                                  content_hash, order_reason, {columns})
  SELECT %(database)s, %(channel)s, %(company)s, %(generation)s, %(session)s,
         %(origin)s, %(made_by)s, %(corrects)s, header.replication_counter = ANY(%(others)s),
         coalesce(header.business_date,
                  business_date_of(header.occurred_at, %(zone)s, %(day_ends_at)s)),
         described.content_hash,
         CASE WHEN header.transaction_type = 'customer_order' AND header.entry_status = 'concluded'
              THEN CASE WHEN header.gross_amount = 0 AND header.payment_amount <> 0
                        THEN 'nothing_ordered' ELSE 'not_ordered' END END,
         {values}
    FROM {headers} header JOIN {described} described USING (replication_counter)
   ORDER BY header.replication_counter
      ON CONFLICT DO NOTHING
  RETURNING id, event_id)
INSERT INTO {kept} (id, transaction_id, event_id)
SELECT kept.id, header.transaction_id, event_id FROM kept JOIN {headers} header USING (event_id)
