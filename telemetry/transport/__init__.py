"""Pipes of bytes or datagrams that know no frames: opened by URL, offered by URL, wrapped by query."""
