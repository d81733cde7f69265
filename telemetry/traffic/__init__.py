"""Recorded traffic: opened, explained, played back as either end, scrubbed, and handed to Wireshark."""
