-- Sales and orders that arrived on certain days, or their lines or payments, and where each is.
--
-- {rows}: how many rows of the table document t has; {rows_aside}: how many quarantined q has.
SELECT h.database_id, h.at, h.rows,
       CASE WHEN h.is_quarantined THEN 'quarantined'
            WHEN h.sales_order_id IS NOT NULL THEN 'posted'
            WHEN h.entry_status = 'voided' THEN 'voided'
            WHEN h.validation_status = 'error' OR h.order_status = 'failed' THEN 'failed'
            ELSE 'waiting' END AS place
  FROM (SELECT t.database_id, t.staged_at AS at, {rows} AS rows, false AS is_quarantined,
               t.sales_order_id, t.entry_status, t.validation_status, t.order_status
          FROM days d
          JOIN retail_transaction t ON t.staged_at >= d.since AND t.staged_at < d.until
         WHERE t.session_id IS NOT NULL
        UNION ALL
        SELECT q.database_id, q.first_seen_at,
               CASE WHEN t.id IS NULL THEN {rows_aside} ELSE {rows} END, t.id IS NULL,
               t.sales_order_id, t.entry_status, t.validation_status, t.order_status
          FROM quarantine q
          LEFT JOIN retail_transaction t
                 ON q.status = 'released' AND t.event_id = q.event_id
                AND t.database_id = q.database_id AND t.session_id IS NULL
         WHERE q."table" = 'retail_transaction') h
