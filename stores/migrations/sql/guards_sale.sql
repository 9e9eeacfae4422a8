-- Rules for the sales that channels sent: transactions, their lines and payments, and what people changed.
--
-- A transaction is *settled* once it is in a sales order or in a posted statement. Its prepayments can be posted before
-- that, in a statement of their own (prepayment_statement_id). Functions that run at each statement look rows up by
-- their keys whatever the statistics say (enable_seqscan), and call the new rows `fresh`. In messages, settled
-- transactions are called posted, also those that are only in a sales order. refuse() is in refuse.sql.

-- Amounts are numbers, or NULL. NaN is greater than every number, and a single one makes a sum NaN.
ALTER TABLE retail_transaction ADD CONSTRAINT amounts_are_numbers CHECK (
    'NaN' NOT IN (net_amount, tax_amount, gross_amount, discount_amount, payment_amount));
ALTER TABLE retail_transaction_line ADD CONSTRAINT line_amounts_are_numbers CHECK (
    'NaN' NOT IN (quantity, price, discount_amount, tax_amount, net_amount));
ALTER TABLE retail_transaction_payment ADD CONSTRAINT payment_amounts_are_numbers CHECK (
    'NaN' NOT IN (amount));

-- The channel and the customer of a transaction or an order belong to its company.
CREATE FUNCTION channel_and_customer_share_the_company() RETURNS trigger LANGUAGE plpgsql
SET enable_seqscan = off AS $$
BEGIN
    IF EXISTS (
        SELECT FROM fresh
         WHERE (SELECT company_id FROM channel WHERE id = fresh.channel_id) <> fresh.company_id
            OR (SELECT company_id FROM customer WHERE id = fresh.customer_id) <> fresh.company_id)
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

-- A settled transaction keeps its values. The WHEN clause names the columns that must not change.
CREATE FUNCTION settled_transactions_are_frozen() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.sales_order_id IS NOT NULL
       OR EXISTS (SELECT FROM statement WHERE id = OLD.statement_id AND state = 'posted') THEN
        RAISE EXCEPTION 'retail_transaction %: it is posted', OLD.id
            USING ERRCODE = 'restrict_violation', CONSTRAINT = TG_NAME;
    END IF;
    RETURN NEW;
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

-- A transaction in an order is settled for ever, except that it leaves the order and its statement together once the
-- order is cancelled.
CREATE FUNCTION settled_for_ever() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.sales_order_id IS NOT NULL OR NEW.statement_id IS NOT NULL
       OR NOT EXISTS (SELECT FROM sales_order
                       WHERE id = OLD.sales_order_id AND state = 'cancelled') THEN
        RAISE EXCEPTION 'retail_transaction %: it stays in its order until that is cancelled', OLD.id
            USING ERRCODE = 'restrict_violation', CONSTRAINT = TG_NAME;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER settled_for_ever BEFORE UPDATE ON retail_transaction FOR EACH ROW
    WHEN (OLD.sales_order_id IS NOT NULL
          AND (OLD.sales_order_id, OLD.statement_id)
              IS DISTINCT FROM (NEW.sales_order_id, NEW.statement_id))
    EXECUTE FUNCTION settled_for_ever();

-- No transaction enters a statement that is posted or cancelled.
CREATE FUNCTION only_open_statements_take_sales() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM statement
                WHERE id IN (NEW.statement_id, NEW.prepayment_statement_id)
                  AND id IS DISTINCT FROM OLD.statement_id
                  AND id IS DISTINCT FROM OLD.prepayment_statement_id
                  AND state IN ('posted', 'cancelled')) THEN
        RAISE EXCEPTION 'retail_transaction %: the statement is posted or cancelled', NEW.id
            USING ERRCODE = 'restrict_violation', CONSTRAINT = TG_NAME;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER only_open_statements_take_sales
    BEFORE INSERT OR UPDATE OF statement_id, prepayment_statement_id ON retail_transaction FOR EACH ROW
    WHEN (NEW.statement_id IS NOT NULL OR NEW.prepayment_statement_id IS NOT NULL)
    EXECUTE FUNCTION only_open_statements_take_sales();

-- A customer order whose prepayments are posted can still be corrected, except for what they were posted by: its
-- identity, its customer, its date and what was paid.
CREATE FUNCTION a_posted_prepayment_is_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM statement WHERE id = OLD.prepayment_statement_id AND state = 'posted') THEN
        RAISE EXCEPTION 'retail_transaction %: its prepayment is posted', OLD.id
            USING ERRCODE = 'restrict_violation', CONSTRAINT = TG_NAME;
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

-- Transactions are never deleted. A correction changes them and is recorded.
CREATE TRIGGER a_transaction_is_never_deleted BEFORE DELETE OR TRUNCATE ON retail_transaction
    FOR EACH STATEMENT EXECUTE FUNCTION refuse();

-- Lines and payments of a settled transaction never change. Payments do not change either once they are posted as
-- prepayments. The triggers have the name of the one that freezes the transaction itself.
CREATE FUNCTION parts_of_a_settled_transaction_are_frozen() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM retail_transaction sale
                 LEFT JOIN statement ON statement.id = sale.statement_id
                 LEFT JOIN statement prepayment ON prepayment.id = sale.prepayment_statement_id
                WHERE sale.id IN (OLD.transaction_id, NEW.transaction_id)
                  AND (sale.sales_order_id IS NOT NULL
                       OR statement.state = 'posted'
                       OR (prepayment.state = 'posted' AND TG_TABLE_NAME = 'retail_transaction_payment')))
    THEN
        RAISE EXCEPTION '%: its transaction is posted', TG_TABLE_NAME
            USING ERRCODE = 'restrict_violation', CONSTRAINT = TG_NAME;
    END IF;
    RETURN coalesce(NEW, OLD);  -- OLD if the row is deleted.
END $$;
CREATE TRIGGER frozen_once_settled BEFORE UPDATE OR DELETE ON retail_transaction_line
    FOR EACH ROW EXECUTE FUNCTION parts_of_a_settled_transaction_are_frozen();
CREATE TRIGGER frozen_once_settled BEFORE UPDATE OR DELETE ON retail_transaction_payment
    FOR EACH ROW EXECUTE FUNCTION parts_of_a_settled_transaction_are_frozen();

-- No line is added to a settled transaction, and no payment to one that is settled or whose prepayments are posted.
-- The check runs once per statement, because an upload inserts the lines of thousands of sales at once.
CREATE FUNCTION nothing_is_added_to_a_settled_transaction() RETURNS trigger LANGUAGE plpgsql
SET enable_seqscan = off AS $$
BEGIN
    IF EXISTS (SELECT FROM fresh
                 JOIN retail_transaction sale ON sale.id = fresh.transaction_id
                 LEFT JOIN statement ON statement.id = sale.statement_id
                 LEFT JOIN statement prepayment ON prepayment.id = sale.prepayment_statement_id
                WHERE sale.sales_order_id IS NOT NULL
                   OR statement.state = 'posted'
                   OR (prepayment.state = 'posted' AND TG_TABLE_NAME = 'retail_transaction_payment'))
    THEN
        RAISE EXCEPTION '%: its transaction is posted', TG_TABLE_NAME
            USING ERRCODE = 'restrict_violation', CONSTRAINT = TG_NAME;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER nothing_is_added_to_a_settled_transaction AFTER INSERT ON retail_transaction_line
    REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION nothing_is_added_to_a_settled_transaction();
CREATE TRIGGER nothing_is_added_to_a_settled_transaction AFTER INSERT ON retail_transaction_payment
    REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION nothing_is_added_to_a_settled_transaction();

-- The record of a correction is never changed or deleted.
CREATE TRIGGER changes_are_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON transaction_change
    FOR EACH STATEMENT EXECUTE FUNCTION refuse();
