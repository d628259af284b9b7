"""One screen an area."""
