-- Deliveries: which changes of customers have arrived at which channel database.

-- The changes that sessions have brought each database, also those that are parts of ranges by now.
CREATE VIEW delivered_range AS
SELECT database_id, int8range(from_no, to_no, '(]') AS changes FROM download_range
 UNION ALL
SELECT session.database_id, int8range(package.from_no, package.to_no, '(]') AS changes
  FROM download_session session JOIN package ON package.id = session.package_id
 WHERE session.applied_at IS NOT NULL OR session.partly_applied_at IS NOT NULL;

-- When a customer arrived at a channel database, in which version, and by which session: one row for each arrival.
CREATE VIEW customer_delivery AS
-- By a session. A package holds the customers whose latest change lay in its range when it was made; in strict order it
-- may arrive in part before it is applied. While an exception was open, the session has not brought the customer,
-- unless the customer was only asked for again.
SELECT session.database_id, change.customer_id, change.change_no, change.version, session.id AS session_id,
       arrival.at AS earliest_at, arrival.at AS delivered_at, package.to_no
  FROM customer_change change JOIN customer ON customer.id = change.customer_id
  JOIN package ON package.company_id = customer.company_id
              AND int8range(package.from_no, package.to_no, '(]') @> change.change_no
  JOIN download_session session ON session.package_id = package.id
 CROSS JOIN LATERAL (VALUES (session.partly_applied_at), (session.applied_at)) arrival (at)
 WHERE arrival.at IS NOT NULL
   AND NOT EXISTS (SELECT FROM customer_change later
                    WHERE later.customer_id = change.customer_id AND later.change_no > change.change_no
                      AND later.change_no <= package.latest_no)
   AND NOT EXISTS (SELECT FROM download_exception exception
                    WHERE exception.database_id = session.database_id
                      AND exception.customer_id = change.customer_id AND exception.reason <> 'requested'
                      AND exception.since <= arrival.at
                      AND (exception.settled_at IS NULL OR exception.settled_at > arrival.at))
 UNION ALL
-- By a session that is part of a range of the chain by now, and had no exceptions. Range and package together say when
-- it was applied.
SELECT range.database_id, change.customer_id, change.change_no, change.version, NULL::uuid AS session_id,
       least(greatest(range.first_applied_at, package.made_at), range.last_applied_at,
             package.last_applied_at) AS earliest_at,
       least(range.last_applied_at, package.last_applied_at) AS delivered_at, package.to_no
  FROM customer_change change JOIN customer ON customer.id = change.customer_id
  JOIN package ON package.company_id = customer.company_id AND NOT package.is_shortcut
              AND int8range(package.from_no, package.to_no, '(]') @> change.change_no
  JOIN channel ON channel.company_id = customer.company_id
  JOIN channel_database database ON database.channel_id = channel.id
  JOIN download_range range ON range.database_id = database.id AND NOT range.is_shortcut
                           AND range.from_no <= package.from_no AND range.to_no >= package.to_no
 WHERE NOT EXISTS (SELECT FROM customer_change later
                    WHERE later.customer_id = change.customer_id AND later.change_no > change.change_no
                      AND later.change_no <= package.latest_no)
 UNION ALL
-- By a session that is part of a range of shortcuts by now, or by none that is known. The range says when.
SELECT range.database_id, change.customer_id, change.change_no, change.version, NULL::uuid AS session_id,
       least(greatest(range.first_applied_at, change.made_at), range.last_applied_at) AS earliest_at,
       range.last_applied_at AS delivered_at, change.change_no AS to_no
  FROM customer_change change JOIN customer ON customer.id = change.customer_id
  JOIN channel ON channel.company_id = customer.company_id
  JOIN channel_database database ON database.channel_id = channel.id
  JOIN download_range range ON range.database_id = database.id AND range.is_shortcut
                           AND range.from_no < change.change_no AND range.to_no >= change.change_no
 WHERE NOT EXISTS (SELECT FROM customer_change later
                    WHERE later.customer_id = change.customer_id AND later.change_no > change.change_no
                      AND later.change_no <= range.latest_no)
 UNION ALL
-- As a single customer, by the session that settled the exception.
SELECT exception.database_id, exception.customer_id,
       (SELECT max(change.change_no) FROM customer_change change
         WHERE change.customer_id = exception.customer_id AND change.version <= exception.version) AS change_no,
       exception.version, exception.session_id, exception.settled_at AS earliest_at,
       exception.settled_at AS delivered_at, NULL::bigint AS to_no
  FROM download_exception exception
 WHERE exception.session_id IS NOT NULL AND exception.settled_at IS NOT NULL;
