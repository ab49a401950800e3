"""Where logs are kept: the seam, and the storages behind it."""
