"""Sockets, and HTTP/1 on them."""
