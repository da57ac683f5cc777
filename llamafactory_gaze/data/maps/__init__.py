"""Saliency maps from fixations: screen geometry, what a map is made of, and maps as files."""
