"""The backend store, read directly: counts and roots that the API cannot give."""
