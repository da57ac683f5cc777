"""From captions to scores.

references.py   what each caption is compared with, and what other people said about the image
column.py       the scores of one metric
columns.py      every metric for every system and for people
cache.py        scores of earlier runs
"""
