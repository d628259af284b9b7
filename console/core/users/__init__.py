"""The htpasswd users."""
