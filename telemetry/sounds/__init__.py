"""The sounds of alarms: what a pump and a tablet play, and whether what a tablet played is what IEC 60601-1-8 asks.

Ranges (`requirements`) and patterns (`patterns`) are plain data. Making sound (`synthesis`, `timeline`, `wav`) and
checking a recording (`checker`) need numpy and scipy, the extra ``report``; importing one of those modules without them
raises ``UsageError`` with the command that installs them.
"""
