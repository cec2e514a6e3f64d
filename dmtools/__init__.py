"""dmtools: moves, archives, watches and serves the data of a physics experiment."""

__version__ = "0.1.0"
