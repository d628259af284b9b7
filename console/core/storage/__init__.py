"""What the artifact storage holds and for whom."""
