"""Tests that run the real programs against real servers."""
