"""One module a figure; `make bench` prints the table."""
