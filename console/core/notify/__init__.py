"""Messages about what is wrong, sent while nobody looks."""
