"""`make demo`: pods of a small workflow against servers on loopback, and what they did."""
