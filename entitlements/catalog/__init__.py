"""What is sold: the catalog as values, read from a file and checked."""
