"""Random pods under random faults, each of them told by a seed."""
