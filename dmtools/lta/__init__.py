"""lta: bundles to a remote archive and back, disks to the warehouse, and the server through which sites share the tables."""
