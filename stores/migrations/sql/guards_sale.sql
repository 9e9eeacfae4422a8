-- What must hold of the sales that channels sent: transactions, their lines and payments, and what was changed in them.

-- Amounts are numbers: NaN is greater than every number, and one of it would poison a sum.
ALTER TABLE retail_transaction ADD CONSTRAINT amounts_are_numbers CHECK (
    'NaN' NOT IN (net_amount, tax_amount, gross_amount, discount_amount, payment_amount));
ALTER TABLE retail_transaction_line ADD CONSTRAINT line_amounts_are_numbers CHECK (
    'NaN' <> ALL (ARRAY[coalesce(quantity, 0), coalesce(price, 0), coalesce(discount_amount, 0),
                        coalesce(tax_amount, 0), coalesce(net_amount, 0)]));
ALTER TABLE retail_transaction_payment ADD CONSTRAINT payment_amounts_are_numbers
    CHECK (amount <> 'NaN');

-- A transaction's or an order's channel and customer belong to its company.
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

-- A transaction that has become an order, or stands in a posted statement, keeps what it says.
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

-- A transaction that has become an order keeps order and statement. It loses both only when the order was cancelled.
CREATE FUNCTION settled_for_ever() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.sales_order_id IS NOT NULL OR NEW.statement_id IS NOT NULL
       OR NOT EXISTS (SELECT FROM sales_order o
                       WHERE o.id = OLD.sales_order_id AND o.state = 'cancelled') THEN
        RAISE EXCEPTION 'retail_transaction: update refused' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER settled_for_ever BEFORE UPDATE ON retail_transaction FOR EACH ROW
    WHEN (OLD.sales_order_id IS NOT NULL
          AND (OLD.sales_order_id, OLD.statement_id)
              IS DISTINCT FROM (NEW.sales_order_id, NEW.statement_id))
    EXECUTE FUNCTION settled_for_ever();

-- A customer order whose prepayments are posted may still be corrected, but not in whose they are and what they say.
CREATE FUNCTION a_posted_prepayment_is_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM statement s
                WHERE s.id = OLD.prepayment_statement_id AND s.state = 'posted') THEN
        RAISE EXCEPTION 'retail_transaction: its prepayment is posted'
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER a_posted_prepayment_is_kept BEFORE UPDATE ON retail_transaction FOR EACH ROW
    WHEN (OLD.prepayment_statement_id IS NOT NULL
          AND (OLD.prepayment_statement_id, OLD.transaction_id, OLD.transaction_type,
               OLD.entry_status, OLD.business_date, OLD.currency, OLD.payment_amount,
               OLD.customer_id, OLD.async_account, OLD.account_number)
              IS DISTINCT FROM
              (NEW.prepayment_statement_id, NEW.transaction_id, NEW.transaction_type,
               NEW.entry_status, NEW.business_date, NEW.currency, NEW.payment_amount,
               NEW.customer_id, NEW.async_account, NEW.account_number))
    EXECUTE FUNCTION a_posted_prepayment_is_kept();

-- Transactions are never deleted: a correction changes them, and leaves a trace.
CREATE TRIGGER a_transaction_is_never_deleted BEFORE DELETE OR TRUNCATE ON retail_transaction
    FOR EACH STATEMENT EXECUTE FUNCTION refuse();

-- Lines and payments stay as they are once their transaction has become an order or is posted; payments also once
-- they are posted as prepayments.
CREATE FUNCTION parts_of_a_settled_transaction_are_frozen() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM retail_transaction t
                 LEFT JOIN statement s ON s.id = t.statement_id
                 LEFT JOIN statement p ON p.id = t.prepayment_statement_id
                WHERE t.id = OLD.transaction_id
                  AND (t.sales_order_id IS NOT NULL OR s.state = 'posted'
                       OR p.state = 'posted' AND TG_TABLE_NAME = 'retail_transaction_payment')) THEN
        RAISE EXCEPTION '%: its transaction is posted', TG_TABLE_NAME
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END $$;
CREATE TRIGGER frozen_once_settled BEFORE UPDATE OR DELETE ON retail_transaction_line
    FOR EACH ROW EXECUTE FUNCTION parts_of_a_settled_transaction_are_frozen();
CREATE TRIGGER frozen_once_settled BEFORE UPDATE OR DELETE ON retail_transaction_payment
    FOR EACH ROW EXECUTE FUNCTION parts_of_a_settled_transaction_are_frozen();

-- What was changed in a transaction stays on record.
CREATE TRIGGER changes_are_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON transaction_change
    FOR EACH STATEMENT EXECUTE FUNCTION refuse();
