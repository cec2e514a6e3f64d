"""Is a file being written?"""

from __future__ import annotations

import fcntl


def is_written(reader: int) -> bool:
    """Has anybody the file open for writing? Only its owner and root are told; a lease is held no longer than the answer.

    The signal that a broken lease sends (SIGIO) must be ignored by the process.
    """
    try:
        fcntl.fcntl(reader, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    fcntl.fcntl(reader, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False
