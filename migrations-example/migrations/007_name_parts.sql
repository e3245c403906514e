-- migration: Split the customers' names
-- description: A data migration: new columns, filled from the old one
-- depends: 001
-- migrate: up
ALTER TABLE customers ADD COLUMN given_name text, ADD COLUMN family_name text;

UPDATE customers SET
  given_name = split_part(full_name, ' ', 1),
  family_name = nullif(substr(full_name, strpos(full_name, ' ') + 1), full_name);

-- migrate: down
ALTER TABLE customers DROP COLUMN given_name, DROP COLUMN family_name;
