"""datalogger: every window of every device of an accelerator's DataLogger, exactly once, as HDF5."""
