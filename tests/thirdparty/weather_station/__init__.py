"""A weather station's readings from its inbox into an archive: a pipeline as somebody else would add it to dmtools."""
