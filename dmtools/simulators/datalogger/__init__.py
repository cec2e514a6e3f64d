"""A DataLogger behind its ACL web page: signals that anybody can compute again, and every way in which its answers go wrong."""
