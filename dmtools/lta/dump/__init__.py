"""Arriving disks in slots -> the warehouse, each file proved; a bad disk is set aside alone."""
