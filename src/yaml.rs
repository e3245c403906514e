//! YAML, behind one door.
