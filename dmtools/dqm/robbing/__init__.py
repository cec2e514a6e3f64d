"""The robber: a keeper for each site, a grabber that it may kill at any time, the grabber's browser."""
