"""dqm-server: the public pages in a browser, with the age of what they show."""
