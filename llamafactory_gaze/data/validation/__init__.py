"""`llamafactory-gaze validate`: what in a data set would stop or spoil a training or a comparison.

problems.py   what a check finds, and how it is said
rows.py       one row: turns, marks, text, who
files.py      one image, map or video file: place, decoding, size, orientation, range
videos.py     the videos of a row, and their lists of maps
sets.py       the rows of one entry: what stands twice, what stands out
leaks.py      training and test: images and people in both; stages
scan.py       goes through the rows once, and hands their files to threads
report.py     all of it, and the report

Each check is a function that yields what it finds; to add one, write it and call it in `scan.py` or `report.py`.
"""
