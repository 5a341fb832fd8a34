"""`make bench`: the project's bars, measured on this machine."""
