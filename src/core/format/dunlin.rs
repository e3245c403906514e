//! Dunlin's own file format.
