-- migration: Orders at a glance
-- depends: 006_order_total
-- migrate: up
CREATE VIEW order_summary AS
SELECT orders.id, orders.status, customers.email, order_total(orders.id) AS total_cents
FROM orders
JOIN customers ON customers.id = orders.customer_id;

-- migrate: down
DROP VIEW order_summary;
