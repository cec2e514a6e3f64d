"""daq: from a full DAQ disk to proved copies at the site and on tape, and back."""
