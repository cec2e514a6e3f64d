"""The mirror of a live page: grabbed by a browser, cleaned of what is private, served outside."""
