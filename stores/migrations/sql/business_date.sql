-- The business date of a moment on a store's own clock. A sale before the hour at which the store's day ends belongs
-- to the day before.
CREATE FUNCTION business_date_of(moment timestamptz, zone text, day_ends_at time) RETURNS date
LANGUAGE sql STABLE STRICT PARALLEL SAFE
RETURN ((moment AT TIME ZONE zone) - day_ends_at)::date;
