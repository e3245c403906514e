-- migration: Orders, a partition a year
-- depends: 001_customers, 003_order_status
-- migrate: up
CREATE TABLE orders (
  id bigint GENERATED ALWAYS AS IDENTITY,
  customer_id bigint NOT NULL REFERENCES customers (id),
  status order_status NOT NULL DEFAULT 'open',
  ordered_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (id, ordered_at)
) PARTITION BY RANGE (ordered_at);

CREATE TABLE orders_2026 PARTITION OF orders FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE TABLE orders_2027 PARTITION OF orders FOR VALUES FROM ('2027-01-01') TO ('2028-01-01');
CREATE TABLE orders_rest PARTITION OF orders DEFAULT;

-- migrate: down
DROP TABLE orders;
