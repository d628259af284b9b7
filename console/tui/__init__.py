"""The Textual console."""

import os

# Textual would write every key and what stands in every field to this file, passwords among them.
os.environ.pop("TEXTUAL_LOG", None)
