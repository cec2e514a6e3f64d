"""Real little servers for the demo, the tests and training. They are the oracle: they never use storage or transfers."""
