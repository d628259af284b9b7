"""The rehearsal that a snapshot restores."""
