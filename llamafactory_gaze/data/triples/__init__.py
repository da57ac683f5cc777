"""Triples of image, map and description: from a user's files to a registered data set with splits and a card."""
