"""What the run goes through, in order: written by the guest, checked by the host."""

from __future__ import annotations

STEPS = (
    "boot",
    "libraries",
    "radio",
    "bluetoothd",
    "scan",
    "not-found",
    "refused",
    "pair",
    "interrogate",
    "set-rate",
    "drop",
    "bonded",
    "adapter-gone",
    "listener",
)
"""The name of each step; a run is good when every one was reported ``ok`` in this order, and then ``done``."""
DONE = "done"
WHAT = {
    "boot": "kernel up, host's files mounted, message bus running",
    "libraries": "Python with bleak, bumble and this package loaded",
    "radio": "/dev/vhci open, a virtual telemeter advertising on the same air",
    "bluetoothd": "BlueZ up, its adapter powered, a pairing agent registered",
    "scan": "the telemeter is in the list of devices, with its service",
    "not-found": "a name that nobody has: a typed error, in time",
    "refused": "pairing without the passkey: a typed error",
    "pair": "connected and paired by LE Secure Connections, the agent asked",
    "interrogate": "telemeter, identity, status and alarms read",
    "set-rate": "a rate changed, read back and in the pump's own books",
    "drop": "the air cut: the loss seen, its reason named",
    "bonded": "connected again without pairing, by the keys of before",
    "adapter-gone": "the adapter unplugged: the loss seen, no link left",
    "listener": "the listener that people type, ble+vhci:, offers the same pump",
}
