"""What a comparison found.

contrasts.py     every system against the reference, over all captions and by groups of them
notes.py         what a reader must know before believing the figures
build.py         all of it as `results.json`
items.py         the captions and scores of each row as `per_item.jsonl`
recorded.py      the same file read back, so that statistics need no scoring
provenance.py    files, versions and the commit behind the figures
schema/          the published JSON schemas of both files
"""
