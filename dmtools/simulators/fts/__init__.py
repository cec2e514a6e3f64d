"""`dm-sim fts`: FTS3's REST protocol with real copies of file:// and root:// and real checksums."""
