"""`dm-sim metacat`: a catalogue made from the calls of MetaCat's own client; the real server is on no registry."""
