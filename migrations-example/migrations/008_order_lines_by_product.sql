-- migration: Find the orders of a product
-- description: CONCURRENTLY keeps the shop open, and can't run in a transaction
-- depends: 005
-- migrate: no-transaction
-- migrate: up
CREATE INDEX CONCURRENTLY order_lines_by_product ON order_lines (product_id);

-- migrate: down
DROP INDEX CONCURRENTLY order_lines_by_product;
