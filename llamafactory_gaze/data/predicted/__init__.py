"""Saliency maps without an eye tracker, each labelled in its file with what it was made of.

source.py       what a source is, and `predict_map`: one map of one photograph
predictors.py   OpenCV's algorithms and the user's own callable
given.py        maps that somebody else's model has made
traces.py       mouse traces
marks.py        clicks and boxes
folder.py       many photographs, resumable
"""
