"""dm-demo: a whole migration with faults, proved by code that shares nothing with the rest of dmtools."""
