"""Backups: one consistent snapshot of everything, proven to restore."""
