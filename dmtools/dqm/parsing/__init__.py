"""From a raw grab to a public page: read, cleaned of what is private, published."""
