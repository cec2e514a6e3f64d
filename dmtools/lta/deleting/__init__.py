"""Source files of shipped bundles leave the warehouse: guarded, journalled, with a trash."""
