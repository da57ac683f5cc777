"""Spoken descriptions: recognised, read, and cleaned of fillers and restarts."""
