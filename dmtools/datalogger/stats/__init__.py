"""Statistics of what the logger gave: the figures of a device and window, and the database that keeps them."""
