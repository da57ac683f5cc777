"""What a comparison reads.

files.py         JSON and JSON lines, each record with its place
dataset.py       the data set: who said what about which image
predictions.py   a system's captions, in whatever form they were written
joining.py       both together: which caption belongs to which row
"""
