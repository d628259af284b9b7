"""The artifacts of a snapshot: fetched from a store, linked, and put back."""
