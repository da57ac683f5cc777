"""From captions to scores.

references.py   what each caption is compared with, and what other people said about the image
columns.py      every metric for every system and for people
cache.py        scores of earlier runs
"""
