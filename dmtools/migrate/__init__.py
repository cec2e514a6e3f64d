"""migrate: the LFNs of the master lists go from one storage to another through FTS3."""
