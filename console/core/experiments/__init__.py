"""Experiments and runs, through the MLflow client."""
