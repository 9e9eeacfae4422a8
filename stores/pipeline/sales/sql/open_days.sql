-- Count the open sales of each channel and business date, and the customers and addresses that are
-- converted before they are posted.
--
-- Run by readiness.readiness(). {open_documents}: the sales and orders that a business date still
-- has to post.
SELECT sale.channel_id, sale.business_date, count(*) AS sales,
       count(*) FILTER (WHERE sale.validation_status = 'successful') AS validated,
       count(DISTINCT sale.async_account) FILTER (
           WHERE sale.customer_id IS NULL AND EXISTS (
               SELECT FROM staged_customer event
                WHERE event.company_id = sale.company_id
                  AND event.async_account = sale.async_account
                  AND event.status = 'pending')) AS customers,
       -- All sales of a channel are of one company, so any of its values will do.
       (SELECT count(DISTINCT event.address_id)
          FROM staged_address event
         WHERE event.company_id = min(sale.company_id) AND event.status = 'pending'
           AND event.async_account = ANY (array_agg(sale.async_account))) AS addresses
  FROM {open_documents} sale
 GROUP BY sale.channel_id, sale.business_date
 ORDER BY sale.business_date, sale.channel_id
