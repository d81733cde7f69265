"""numpy and scipy, or a message that says how to get them; the only door to both in this package."""

from __future__ import annotations

from typing import TypeAlias

from telemetry.errors import UsageError

try:
    import numpy as np
    from numpy.typing import NDArray
    from scipy import ndimage, signal
    from scipy.io import wavfile
except ImportError as problem:
    raise UsageError(
        f"sounds need numpy and scipy ({problem}); install them: pip install 'itb-telemetry[report]'"
    ) from problem

Samples: TypeAlias = NDArray[np.float64]
"""Sound as numbers; 1.0 is the loudest that a file holds."""
Pcm: TypeAlias = NDArray[np.int16]
"""Sound as a file holds it: 16 bits a sample."""

__all__ = ["NDArray", "Pcm", "Samples", "ndimage", "np", "signal", "wavfile"]
