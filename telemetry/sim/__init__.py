"""The simulated side: virtual pump, telemeter, firmware, and the stations that serve them. All SIMULATED."""
