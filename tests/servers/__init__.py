"""Servers and proxies that the tests start on loopback."""
