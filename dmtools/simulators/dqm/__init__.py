"""A DQM page like DQM^2: documents with revisions, a websocket that tells of them, and a page that draws itself from them."""
