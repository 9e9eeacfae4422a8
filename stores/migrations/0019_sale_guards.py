"""Rules of sales, orders and statements that hold even when Python is wrong."""

from django.db import migrations

AMOUNTS = """
-- NaN is greater than every number, and one of it would poison a sum.
ALTER TABLE retail_transaction ADD CONSTRAINT amounts_are_numbers CHECK (
    'NaN' NOT IN (net_amount, tax_amount, gross_amount, discount_amount, payment_amount));
ALTER TABLE retail_transaction_line ADD CONSTRAINT line_amounts_are_numbers CHECK (
    'NaN' <> ALL (ARRAY[coalesce(quantity, 0), coalesce(price, 0), coalesce(discount_amount, 0),
                        coalesce(tax_amount, 0), coalesce(net_amount, 0)]));
ALTER TABLE retail_transaction_payment ADD CONSTRAINT payment_amounts_are_numbers
    CHECK (amount <> 'NaN');

-- How many decimal places a currency's smallest unit has (ISO 4217).
CREATE FUNCTION currency_places(currency text) RETURNS integer
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN CASE
    WHEN currency IN ('BIF', 'CLP', 'DJF', 'GNF', 'ISK', 'JPY', 'KMF', 'KRW', 'PYG', 'RWF', 'UGX',
                      'UYI', 'VND', 'VUV', 'XAF', 'XOF', 'XPF') THEN 0
    WHEN currency IN ('BHD', 'IQD', 'JOD', 'KWD', 'LYD', 'OMR', 'TND') THEN 3
    WHEN currency IN ('CLF', 'UYW') THEN 4
    ELSE 2 END;

-- The business date of a moment by a store's own clock: hours before the end of its day still
-- belong to the day before. A repeated hour counts once, a missing one never happens.
CREATE FUNCTION business_date_of(moment timestamptz, zone text, day_ends_at time) RETURNS date
LANGUAGE sql STABLE STRICT PARALLEL SAFE
RETURN ((moment AT TIME ZONE zone) - day_ends_at)::date;
"""

COMPANIES = """
CREATE FUNCTION channel_and_customer_share_the_company() RETURNS trigger LANGUAGE plpgsql
SET enable_seqscan = off AS $$
BEGIN
    IF EXISTS (
        SELECT FROM fresh f
         WHERE (SELECT h.company_id FROM channel h WHERE h.id = f.channel_id) <> f.company_id
            OR (SELECT c.company_id FROM customer c WHERE c.id = f.customer_id) <> f.company_id)
    THEN
        RAISE EXCEPTION '%: channel and customer must be of its company', TG_TABLE_NAME
            USING ERRCODE = 'foreign_key_violation', CONSTRAINT = TG_NAME;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER channel_and_customer_share_the_company AFTER INSERT ON retail_transaction
    REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION channel_and_customer_share_the_company();
CREATE TRIGGER its_new_customer_is_of_its_company AFTER UPDATE ON retail_transaction
    REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION channel_and_customer_share_the_company();
CREATE TRIGGER channel_and_customer_share_the_company AFTER INSERT ON sales_order
    REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION channel_and_customer_share_the_company();

CREATE FUNCTION statement_and_channel_share_the_company() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT h.company_id FROM channel h WHERE h.id = NEW.channel_id) <> NEW.company_id THEN
        RAISE EXCEPTION 'statement: its channel must be of its company'
            USING ERRCODE = 'foreign_key_violation', CONSTRAINT = TG_NAME;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER statement_and_channel_share_the_company BEFORE INSERT ON statement
    FOR EACH ROW EXECUTE FUNCTION statement_and_channel_share_the_company();
"""

MOVES = """
CREATE TRIGGER a_sequence_of_orders_never_falls BEFORE UPDATE ON order_sequence FOR EACH ROW
    WHEN (NEW.next_order < OLD.next_order OR NEW.next_invoice < OLD.next_invoice)
    EXECUTE FUNCTION refuse();
CREATE TRIGGER a_used_sequence_of_orders_is_never_deleted BEFORE DELETE ON order_sequence
    FOR EACH ROW EXECUTE FUNCTION refuse();

CREATE TRIGGER a_sales_order_is_never_deleted BEFORE DELETE OR TRUNCATE ON sales_order
    FOR EACH STATEMENT EXECUTE FUNCTION refuse();
CREATE TRIGGER a_sales_order_moves_forward BEFORE UPDATE ON sales_order FOR EACH ROW
    WHEN ((OLD.id, OLD.company_id, OLD.channel_id, OLD.number, OLD.confirmation_number,
           OLD.statement_id, OLD.customer_id, OLD.business_date, OLD.currency, OLD.net_amount,
           OLD.tax_amount, OLD.gross_amount, OLD.discount_amount)
          IS DISTINCT FROM
          (NEW.id, NEW.company_id, NEW.channel_id, NEW.number, NEW.confirmation_number,
           NEW.statement_id, NEW.customer_id, NEW.business_date, NEW.currency, NEW.net_amount,
           NEW.tax_amount, NEW.gross_amount, NEW.discount_amount)
          OR (OLD.invoice_number IS NOT NULL AND OLD.invoice_number IS DISTINCT FROM NEW.invoice_number)
          OR (OLD.state, NEW.state) NOT IN (
              ('open', 'open'), ('on_hold', 'on_hold'), ('invoiced', 'invoiced'),
              ('on_hold', 'open'), ('open', 'on_hold'), ('open', 'invoiced')))
    EXECUTE FUNCTION refuse();

CREATE FUNCTION modes_of_statements_do_not_mix() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM statement s WHERE s.channel_id = NEW.id AND s.state <> 'posted') THEN
        RAISE EXCEPTION 'channel: a statement is open, post it before the mode changes'
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER modes_of_statements_do_not_mix BEFORE UPDATE OF statement_mode ON channel
    FOR EACH ROW WHEN (OLD.statement_mode <> NEW.statement_mode)
    EXECUTE FUNCTION modes_of_statements_do_not_mix();

CREATE TRIGGER a_posted_statement_is_frozen BEFORE UPDATE OR DELETE ON statement FOR EACH ROW
    WHEN (OLD.state = 'posted') EXECUTE FUNCTION refuse();
CREATE TRIGGER statements_are_never_truncated BEFORE TRUNCATE ON statement
    FOR EACH STATEMENT EXECUTE FUNCTION refuse();

-- The rows of a posted statement, and documents that have become an order, stay as they are.
CREATE FUNCTION parts_of_a_posted_statement_are_frozen() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM statement s WHERE s.id = OLD.statement_id AND s.state = 'posted') THEN
        RAISE EXCEPTION '%: its statement is posted', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END $$;
CREATE TRIGGER frozen_once_posted BEFORE UPDATE OR DELETE ON statement_tender
    FOR EACH ROW EXECUTE FUNCTION parts_of_a_posted_statement_are_frozen();
CREATE TRIGGER frozen_once_posted BEFORE UPDATE OR DELETE ON statement_total
    FOR EACH ROW EXECUTE FUNCTION parts_of_a_posted_statement_are_frozen();
CREATE TRIGGER frozen_once_posted BEFORE UPDATE OR DELETE ON statement_aggregate
    FOR EACH ROW EXECUTE FUNCTION parts_of_a_posted_statement_are_frozen();

CREATE FUNCTION settled_transactions_are_frozen() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.sales_order_id IS NOT NULL
       OR EXISTS (SELECT FROM statement s WHERE s.id = OLD.statement_id AND s.state = 'posted') THEN
        RAISE EXCEPTION 'retail_transaction: it is posted' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END $$;
CREATE TRIGGER frozen_once_settled BEFORE UPDATE ON retail_transaction FOR EACH ROW
    WHEN ((OLD.sales_order_id IS NOT NULL OR OLD.statement_id IS NOT NULL)
          AND (OLD.event_id, OLD.transaction_id, OLD.transaction_type, OLD.entry_status,
               OLD.business_date, OLD.currency, OLD.net_amount, OLD.tax_amount, OLD.gross_amount,
               OLD.discount_amount, OLD.payment_amount, OLD.line_count, OLD.customer_id,
               OLD.content_hash)
              IS DISTINCT FROM
              (NEW.event_id, NEW.transaction_id, NEW.transaction_type, NEW.entry_status,
               NEW.business_date, NEW.currency, NEW.net_amount, NEW.tax_amount, NEW.gross_amount,
               NEW.discount_amount, NEW.payment_amount, NEW.line_count, NEW.customer_id,
               NEW.content_hash))
    EXECUTE FUNCTION settled_transactions_are_frozen();
CREATE TRIGGER settled_for_ever BEFORE UPDATE ON retail_transaction FOR EACH ROW
    WHEN (OLD.sales_order_id IS NOT NULL
          AND (OLD.sales_order_id, OLD.statement_id)
              IS DISTINCT FROM (NEW.sales_order_id, NEW.statement_id))
    EXECUTE FUNCTION refuse();
CREATE TRIGGER a_transaction_is_never_deleted BEFORE DELETE OR TRUNCATE ON retail_transaction
    FOR EACH STATEMENT EXECUTE FUNCTION refuse();

CREATE FUNCTION parts_of_a_settled_transaction_are_frozen() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM retail_transaction t LEFT JOIN statement s ON s.id = t.statement_id
                WHERE t.id = OLD.transaction_id
                  AND (t.sales_order_id IS NOT NULL OR s.state = 'posted')) THEN
        RAISE EXCEPTION '%: its transaction is posted', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END $$;
CREATE TRIGGER frozen_once_settled BEFORE UPDATE OR DELETE ON retail_transaction_line
    FOR EACH ROW EXECUTE FUNCTION parts_of_a_settled_transaction_are_frozen();
CREATE TRIGGER frozen_once_settled BEFORE UPDATE OR DELETE ON retail_transaction_payment
    FOR EACH ROW EXECUTE FUNCTION parts_of_a_settled_transaction_are_frozen();

CREATE TRIGGER changes_are_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON transaction_change
    FOR EACH STATEMENT EXECUTE FUNCTION refuse();
CREATE TRIGGER events_of_statements_are_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON statement_event
    FOR EACH STATEMENT EXECUTE FUNCTION refuse();
CREATE TRIGGER posted_payments_are_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON posted_payment
    FOR EACH STATEMENT EXECUTE FUNCTION refuse();
"""

# A document in quarantine is not kept as well; it has no status to ask for.
QUARANTINE = """
CREATE OR REPLACE FUNCTION an_open_row_is_not_pending() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE is_pending boolean;
BEGIN
    IF NEW."table" = 'retail_transaction' THEN
        is_pending := EXISTS (SELECT FROM retail_transaction WHERE event_id = NEW.event_id);
    ELSIF to_regclass(NEW."table") IS NOT NULL THEN
        EXECUTE format('SELECT EXISTS (SELECT FROM %I WHERE event_id = $1 AND status = ''pending'')',
                       NEW."table") INTO is_pending USING NEW.event_id;
    END IF;
    IF is_pending THEN
        RAISE EXCEPTION 'quarantine: its event is pending in staging'
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NULL;
END $$;
"""


class Migration(migrations.Migration):
    """Forward only: a downgrade would leave the rules without guard."""

    dependencies = [("stores", "0018_sales")]
    operations = [
        migrations.RunSQL(AMOUNTS),
        migrations.RunSQL(COMPANIES),
        migrations.RunSQL(MOVES),
        migrations.RunSQL(QUARANTINE),
    ]
