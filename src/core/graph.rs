//! Dependencies: order, unknown ones, cycles.
