"""Bundles and files back from the remote archive."""
