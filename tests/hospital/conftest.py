"""Loads sdc11073 once with its own deprecations ignored: it warns of its own modules as it imports them."""

from __future__ import annotations

import contextlib
import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    with contextlib.suppress(ImportError):
        import sdc11073.consumer.consumerimpl
        import sdc11073.provider
        import sdc11073.wsdiscovery  # noqa: F401 - loaded for what it warns of
