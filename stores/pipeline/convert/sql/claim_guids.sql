-- The GUIDs that get an account now, each with the id of the customer that it becomes.
SELECT async_account, nextval('customer_id_seq') AS customer_id, 1::bigint AS hq_version, databases
  FROM ({pending_guids}) fresh ORDER BY async_account
