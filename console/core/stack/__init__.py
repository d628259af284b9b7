"""The services of a deployment: their state, health, logs and actions."""
