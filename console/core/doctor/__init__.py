"""What is wrong with a deployment itself, or will be, each with its remedy."""
