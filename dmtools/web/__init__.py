"""What the web servers of dmtools share, and the status page (dm-web)."""
