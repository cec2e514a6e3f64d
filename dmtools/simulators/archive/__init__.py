"""The remote host's tape: HPSS as far as hsi shows it, slow, and faulty on demand."""
