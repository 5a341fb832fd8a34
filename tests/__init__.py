"""Tests of Tiphys."""
