"""Dialogs: questions, confirmations and failures."""
