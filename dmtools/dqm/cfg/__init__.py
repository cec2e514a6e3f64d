"""What dqm-cfg does: the settings of [dqm] shown, proved, written, and taken over from an old dqmsquare_mirror.cfg."""
