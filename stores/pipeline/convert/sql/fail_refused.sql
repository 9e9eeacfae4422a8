-- Fail events of which the database refuses what comes of them.
--
-- Run by open_events.fail_refused(). {event}: their staging table. {open_failing}: opens the events
-- of `failing`; see its file.
WITH failing AS (
  SELECT event.event_id, event.batch_id, event.company_id, event.async_account,
         event.account_number, 'failed' AS status, 'refused' AS reason, NULL AS field
    FROM {event} event WHERE event.event_id = ANY(%(events)s::uuid[])),
{open_failing}
