"""Rules that hold even when Python is wrong: triggers, composite keys and the text functions."""

from django.db import migrations

FUNCTIONS = """
CREATE SEQUENCE job_run_fencing;

-- 'C-######', 42 -> 'C-000042'
CREATE FUNCTION account_text(format text, number bigint) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN split_part(format, '#', 1)
    || lpad(number::text, greatest(length(number::text), length(format) - length(replace(format, '#', ''))), '0')
    || reverse(split_part(reverse(format), '#', 1));

-- 'C-######', 'C-000042' -> 42; NULL for a text of another shape
CREATE FUNCTION account_place(format text, account text) RETURNS bigint
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN CASE
    WHEN substr(account, strpos(format, '#'), length(format) - length(replace(format, '#', ''))) ~ '^[0-9]+$'
     AND account = account_text(format,
         substr(account, strpos(format, '#'), length(format) - length(replace(format, '#', '')))::bigint)
    THEN substr(account, strpos(format, '#'), length(format) - length(replace(format, '#', '')))::bigint END;

-- The documented normalisation: ends trimmed, Unicode NFC.
CREATE FUNCTION tidy(value text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN normalize(btrim(value, E' \\t\\r\\n'), NFC);

-- The same, and the domain of a mail address in lower case.
CREATE FUNCTION tidy_email(value text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN substr(tidy(value), 1, strpos(tidy(value), '@')) || lower(substr(tidy(value), strpos(tidy(value), '@') + 1));

CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%: % refused', TG_TABLE_NAME, lower(TG_OP) USING ERRCODE = 'restrict_violation';
END $$;
"""

CUSTOMERS = """
ALTER TABLE guid_map
    ADD CONSTRAINT guid_and_customer_share_the_company
        FOREIGN KEY (customer_id, company_id) REFERENCES customer (id, company_id)
        DEFERRABLE INITIALLY DEFERRED,
    ADD CONSTRAINT guid_and_channel_share_the_company
        FOREIGN KEY (channel_id, company_id) REFERENCES channel (id, company_id)
        DEFERRABLE INITIALLY DEFERRED;

CREATE FUNCTION accounts_fit_their_sequence() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM fresh c LEFT JOIN number_sequence s USING (company_id)
         WHERE CASE WHEN c.number IS NULL
               THEN account_place(s.format, c.account_number) BETWEEN s.start AND s.largest
               ELSE s.next IS NULL OR c.number < s.start OR c.number >= s.next
                    OR c.account_number <> account_text(s.format, c.number) END)
    THEN
        RAISE EXCEPTION 'customer: account and number do not fit the number sequence'
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER accounts_fit_their_sequence AFTER INSERT ON customer REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION accounts_fit_their_sequence();
CREATE TRIGGER an_account_never_changes BEFORE UPDATE ON customer FOR EACH ROW
    WHEN ((OLD.id, OLD.company_id, OLD.account_number, OLD.number)
          IS DISTINCT FROM (NEW.id, NEW.company_id, NEW.account_number, NEW.number))
    EXECUTE FUNCTION refuse();
CREATE TRIGGER a_customer_is_never_deleted BEFORE DELETE OR TRUNCATE ON customer
    FOR EACH STATEMENT EXECUTE FUNCTION refuse();
CREATE TRIGGER the_map_never_changes BEFORE UPDATE OR DELETE OR TRUNCATE ON guid_map
    FOR EACH STATEMENT EXECUTE FUNCTION refuse();

CREATE TRIGGER the_next_number_never_falls BEFORE UPDATE ON number_sequence FOR EACH ROW
    WHEN (NEW.next < OLD.next) EXECUTE FUNCTION refuse();
CREATE TRIGGER the_format_is_frozen_once_used BEFORE UPDATE ON number_sequence FOR EACH ROW
    WHEN (OLD.next > OLD.start AND (NEW.format, NEW.start) IS DISTINCT FROM (OLD.format, OLD.start))
    EXECUTE FUNCTION refuse();
CREATE TRIGGER a_used_sequence_is_never_deleted BEFORE DELETE ON number_sequence FOR EACH ROW
    WHEN (OLD.next > OLD.start) EXECUTE FUNCTION refuse();
CREATE TRIGGER sequences_are_never_truncated BEFORE TRUNCATE ON number_sequence
    FOR EACH STATEMENT EXECUTE FUNCTION refuse();

-- A conversion that came to an imported account would fail, and all after it.
CREATE FUNCTION a_sequence_keeps_clear_of_imported_accounts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM customer c
         WHERE c.company_id = NEW.company_id AND c.number IS NULL
           AND account_place(NEW.format, c.account_number) BETWEEN NEW.start AND NEW.largest)
    THEN
        RAISE EXCEPTION 'number_sequence: an imported account lies in its range'
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER a_sequence_keeps_clear_of_imported_accounts
    AFTER INSERT OR UPDATE OF start, largest, format ON number_sequence
    FOR EACH ROW EXECUTE FUNCTION a_sequence_keeps_clear_of_imported_accounts();
"""

# One look-up per row by index, whatever the statistics say: a scan of all customers for every chunk
# would make a large backlog quadratic.
DELIVERIES = """
CREATE FUNCTION deliveries_have_customer_and_database() RETURNS trigger LANGUAGE plpgsql
SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
    IF EXISTS (
        SELECT FROM fresh d
          LEFT JOIN customer c ON c.id = d.customer_id
          LEFT JOIN channel_database b ON b.id = d.database_id
          LEFT JOIN channel h ON h.id = b.channel_id
         WHERE c.id IS NULL OR h.id IS NULL OR c.company_id <> h.company_id)
    THEN
        RAISE EXCEPTION 'delivery: customer and channel database must exist in one company'
            USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER deliveries_have_customer_and_database AFTER INSERT ON delivery
    REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION deliveries_have_customer_and_database();
CREATE TRIGGER a_delivery_is_never_moved BEFORE UPDATE ON delivery FOR EACH ROW
    WHEN ((OLD.database_id, OLD.customer_id) IS DISTINCT FROM (NEW.database_id, NEW.customer_id))
    EXECUTE FUNCTION refuse();
CREATE TRIGGER a_database_is_never_deleted BEFORE DELETE OR TRUNCATE ON channel_database
    FOR EACH STATEMENT EXECUTE FUNCTION refuse();
CREATE TRIGGER a_channel_is_never_deleted BEFORE DELETE OR TRUNCATE ON channel
    FOR EACH STATEMENT EXECUTE FUNCTION refuse();
CREATE TRIGGER a_channel_keeps_its_company BEFORE UPDATE ON channel FOR EACH ROW
    WHEN (OLD.company_id <> NEW.company_id) EXECUTE FUNCTION refuse();
CREATE TRIGGER a_database_keeps_its_channel BEFORE UPDATE ON channel_database FOR EACH ROW
    WHEN (OLD.channel_id <> NEW.channel_id) EXECUTE FUNCTION refuse();
CREATE TRIGGER fencing_numbers_only_grow BEFORE UPDATE ON job_run FOR EACH ROW
    WHEN (OLD.fencing_no IS NOT NULL
          AND (NEW.fencing_no IS NULL OR NEW.fencing_no < OLD.fencing_no))
    EXECUTE FUNCTION refuse();
"""


class Migration(migrations.Migration):
    """Forward only: a downgrade would leave the rules without guard."""

    dependencies = [("stores", "0001_ring")]
    operations = [
        migrations.RunSQL(FUNCTIONS),
        migrations.RunSQL(CUSTOMERS),
        migrations.RunSQL(DELIVERIES),
    ]
