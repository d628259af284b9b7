"""The headless core: everything the two front ends can do, without either of them."""
