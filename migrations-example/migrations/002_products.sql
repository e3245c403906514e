-- migration: Products
-- migrate: up
CREATE TABLE products (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  sku text NOT NULL UNIQUE,
  title text NOT NULL,
  price_cents bigint NOT NULL CHECK (price_cents >= 0)
);

INSERT INTO products (sku, title, price_cents) VALUES
  ('TEA-100', 'Darjeeling; first flush', 1250),
  ('TEA-200', 'Assam -- malty', 890),
  ('POT-001', 'Cast-iron pot', 6400);

-- migrate: down
DROP TABLE products;
