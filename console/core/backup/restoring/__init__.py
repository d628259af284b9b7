"""Bringing back a snapshot, whole or single runs of it."""
