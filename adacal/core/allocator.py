"""glibc's allocator, told to keep what a network frees for its next pass."""

from __future__ import annotations

import ctypes
from functools import cache

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h."""
_LARGEST_MMAP_THRESHOLD = 32 << 20
"""glibc takes no more on 64 bits."""
_MOST = (1 << 31) - 1


@cache
def keep_freed_memory() -> bool:
    """Lets this process keep freed memory instead of handing it back to the system.

    Activations of a pass are freed and asked for again at once; zeroing their pages anew at every
    pass took up to a tenth of a run of ResNet-50. What a process held at its peak it then holds to
    its end.

    Returns:
        Whether it could be told; False where the C library is another.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # no glibc
        return False
    # in this order: the first stops glibc from adapting the other, which begins at 128 KB
    return bool(mallopt(_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD)) and bool(
        mallopt(_TRIM_THRESHOLD, _MOST)
    )
