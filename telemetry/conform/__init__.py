"""Conformance runs: of a programmer, of a device, of a subscriber; steps, verdicts, a report that can be signed."""
