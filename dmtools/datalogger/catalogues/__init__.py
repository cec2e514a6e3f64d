"""Where finished files are declared: a journal of our own, Rucio, MetaCat; all are asked and told in one way."""
