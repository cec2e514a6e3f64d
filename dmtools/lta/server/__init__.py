"""lta-rest-server: the asks of lta over HTTP, for those who have a token."""
