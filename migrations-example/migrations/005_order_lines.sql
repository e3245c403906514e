-- migration: What an order is made of
-- depends: 002, 004
-- migrate: up
CREATE TABLE order_lines (
  order_id bigint NOT NULL,
  ordered_at timestamptz NOT NULL,
  product_id bigint NOT NULL REFERENCES products (id),
  quantity integer NOT NULL CHECK (quantity > 0),
  price_cents bigint NOT NULL,
  PRIMARY KEY (order_id, ordered_at, product_id),
  FOREIGN KEY (order_id, ordered_at) REFERENCES orders (id, ordered_at)
);

-- migrate: down
DROP TABLE order_lines;
