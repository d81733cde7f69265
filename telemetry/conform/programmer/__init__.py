"""Conformance of a programmer: the bench that it lies on, and the steps P-01 … that are asked of it."""
