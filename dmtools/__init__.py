"""dmtools: moves, archives, watches and serves the data of a physics experiment."""

import gc

__version__ = "0.1.0"

gc.set_threshold(50_000, 20, 100)  # start-up makes many objects and drops few: looking for rubbish there costs 4 % of it
