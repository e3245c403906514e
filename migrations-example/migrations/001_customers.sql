-- migration: Customers
-- description: Everyone who may order something
-- migrate: up
CREATE TABLE customers (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  email text NOT NULL,
  full_name text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT customers_email_is_unique UNIQUE (email)
);

-- migrate: down
DROP TABLE customers;
