"""Local images in the place of official ones, for machines that reach no image registry."""
