-- The business dates of every channel with open sales: how many there are, how many are validated,
-- and the customers and addresses that will be converted on the way.
--
-- {open_documents}: what a business date still has to post.
SELECT t.channel_id, t.business_date, count(*) AS sales,
       count(*) FILTER (WHERE t.validation_status = 'successful') AS validated,
       count(DISTINCT t.async_account) FILTER (
           WHERE t.customer_id IS NULL AND EXISTS (
               SELECT FROM async_customer s
                WHERE s.company_id = t.company_id AND s.async_account = t.async_account
                  AND s.status = 'pending')) AS customers,
       (SELECT count(DISTINCT a.address_id)
          FROM async_address a
         WHERE a.company_id = min(t.company_id) AND a.status = 'pending'
           AND a.async_account = ANY (array_agg(t.async_account))) AS addresses
  FROM {open_documents} t
 GROUP BY t.channel_id, t.business_date ORDER BY t.business_date, t.channel_id
