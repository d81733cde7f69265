"""The implanted device: pure, synchronous, event-driven, exact; wire-blind (docs/pump-model.md)."""
