"""Control: who may work now (run, halt, drain), heartbeats, and the frame in which every pass runs."""
