-- Fold old download sessions into ranges: replace sessions of one database that follow each other
-- by one row of download_range. The result is how many sessions were folded.
--
-- Run by ranges.fold_sessions(). Not folded are sessions whose package may be sent again, sessions
-- that a person changed, that came in parts, or whose run still has its steps, and sessions during
-- which the channel refused or lost a customer of the package.
WITH old AS (
  SELECT session.id
    FROM download_session session JOIN package ON package.id = session.package_id
   WHERE session.status = 'applied' AND package.dropped_at IS NOT NULL
     AND session.started_at < now() - %(kept_days)s * interval '1 day'
     AND session.applied_at < now() - %(kept_days)s * interval '1 day'
     AND session.changed_by_id IS NULL AND session.partly_applied_at IS NULL
     AND NOT EXISTS (SELECT FROM job_run run
                      WHERE run.id = session.run_id AND run.steps_removed_at IS NULL)
     AND NOT EXISTS (SELECT FROM download_exception exception
                      WHERE exception.session_id = session.id)
     AND NOT EXISTS (SELECT FROM download_exception exception
                       JOIN customer_change change
                         ON change.customer_id = exception.customer_id
                        AND change.change_no > package.from_no
                        AND change.change_no <= package.to_no
                      WHERE exception.database_id = session.database_id
                        AND exception.since <= session.applied_at
                        AND (exception.settled_at IS NULL
                             OR exception.settled_at > session.applied_at))
   ORDER BY session.started_at, session.id LIMIT %(limit)s FOR UPDATE OF session SKIP LOCKED),
folded AS (
  DELETE FROM download_session session
   USING old, package
   WHERE session.id = old.id AND package.id = session.package_id
  RETURNING session.database_id, session.package_id, package.is_shortcut, package.from_no,
            package.to_no, package.latest_no, session.applied_at, session.customers, session.rows),
-- Each package keeps when the last of its folded sessions was applied.
dated AS (
  UPDATE package SET last_applied_at = greatest(package.last_applied_at, latest.applied_at)
    FROM (SELECT package_id, max(applied_at) AS applied_at FROM folded GROUP BY package_id) latest
   WHERE package.id = latest.package_id),
-- Ranges that overlap or adjoin the folded sessions become parts of the new ranges.
neighbor AS (
  DELETE FROM download_range range
   USING (SELECT database_id, is_shortcut, min(from_no) AS from_no, max(to_no) AS to_no
            FROM folded GROUP BY database_id, is_shortcut) span
   WHERE range.database_id = span.database_id AND range.is_shortcut = span.is_shortcut
     AND range.first_applied_at IS NOT NULL
     AND range.from_no <= span.to_no AND range.to_no >= span.from_no
  RETURNING range.*),
piece AS (
  SELECT database_id, is_shortcut, from_no, to_no, latest_no, applied_at AS first_applied_at,
         applied_at AS last_applied_at, 1 AS sessions, customers, rows
    FROM folded
   UNION ALL
  SELECT database_id, is_shortcut, from_no, to_no, latest_no, first_applied_at,
         last_applied_at, sessions, customers, rows
    FROM neighbor),
-- A piece begins a range if there is a gap between it and all pieces before it.
marked AS (
  SELECT piece.*,
         from_no > coalesce(max(to_no) OVER (
             PARTITION BY database_id, is_shortcut ORDER BY from_no, to_no
             ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), -1) AS begins_range
    FROM piece),
numbered AS (
  SELECT marked.*,
         count(*) FILTER (WHERE begins_range) OVER (
             PARTITION BY database_id, is_shortcut ORDER BY from_no, to_no
             ROWS UNBOUNDED PRECEDING) AS range_number
    FROM marked),
written AS (
  INSERT INTO download_range (database_id, is_shortcut, from_no, to_no, latest_no, first_applied_at,
                              last_applied_at, sessions, customers, rows)
  SELECT database_id, is_shortcut, min(from_no), max(to_no), max(latest_no), min(first_applied_at),
         max(last_applied_at), sum(sessions), sum(customers), sum(rows)
    FROM numbered GROUP BY database_id, is_shortcut, range_number)
SELECT count(*) FROM folded
