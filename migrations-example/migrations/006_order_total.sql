-- migration: The total of an order, by a function
-- depends: 005
-- migrate: up
CREATE FUNCTION order_total(wanted bigint) RETURNS bigint
LANGUAGE plpgsql STABLE AS $$
DECLARE
  total bigint;
BEGIN
  -- migrate: down would be text here, since this stands between dollar quotes
  SELECT coalesce(sum(quantity * price_cents), 0) INTO total FROM order_lines WHERE order_id = wanted;
  RETURN total;
END;
$$;

CREATE FUNCTION order_count(customer bigint) RETURNS bigint
LANGUAGE sql STABLE
BEGIN ATOMIC
  SELECT count(*) FROM orders WHERE customer_id = customer;
END;

-- migrate: down
DROP FUNCTION order_count(bigint);
DROP FUNCTION order_total(bigint);
