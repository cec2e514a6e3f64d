"""The DAQ: writes runs to its disks, fills them, sets flags and respects them."""
