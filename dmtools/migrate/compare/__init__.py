"""Two lists of names against each other: what the storage holds and what the catalogue knows. Deletes nothing."""
