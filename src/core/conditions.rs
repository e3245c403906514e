//! Outcome + old conditions + now → new conditions.
