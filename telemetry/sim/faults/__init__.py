"""Device faults: what there is (``catalogue``), orders for them (``injection``), when they strike (``engine``)."""
