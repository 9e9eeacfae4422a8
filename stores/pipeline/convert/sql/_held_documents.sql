-- Sales and orders that arrived on certain days, or their lines or payments, and where each is now.
--
-- A part of recount.sql. {rows}: how many rows of the table `sale` has; {quarantined_rows}: how
-- many `quarantine` has.
SELECT held.database_id, held.at, held.rows,
       CASE WHEN held.is_quarantined THEN 'quarantined'
            WHEN held.sales_order_id IS NOT NULL THEN 'posted'
            WHEN held.entry_status = 'voided' THEN 'voided'
            WHEN held.validation_status = 'error' OR held.order_status = 'failed' THEN 'failed'
            ELSE 'waiting' END AS place
  FROM (SELECT sale.database_id, sale.staged_at AS at, {rows} AS rows, false AS is_quarantined,
               sale.sales_order_id, sale.entry_status, sale.validation_status, sale.order_status
          FROM days
          JOIN retail_transaction sale
            ON sale.staged_at >= days.since AND sale.staged_at < days.until
         WHERE sale.session_id IS NOT NULL
        UNION ALL
        -- What was released from quarantine came without a session.
        SELECT quarantine.database_id, quarantine.first_seen_at,
               CASE WHEN sale.id IS NULL THEN {quarantined_rows} ELSE {rows} END, sale.id IS NULL,
               sale.sales_order_id, sale.entry_status, sale.validation_status, sale.order_status
          FROM quarantine
          LEFT JOIN retail_transaction sale
                 ON quarantine.status = 'released' AND sale.event_id = quarantine.event_id
                AND sale.database_id = quarantine.database_id AND sale.session_id IS NULL
         WHERE quarantine."table" = 'retail_transaction') held
