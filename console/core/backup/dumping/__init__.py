"""The backend store of a snapshot: dumped, read and loaded."""
