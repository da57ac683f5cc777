"""A page to try a gaze model on: a picture, a gaze, and what the model says for it.

picture.py   the picture, read from an upload
gaze.py      a map from strokes of a brush, from a table of fixations, or from a file
models.py    the gaze model and what it is compared with
captions.py  captions, word by word
inside.py    the calibrator's attention and the moved tokens as pictures
session.py   what was asked and answered, and its report
pages.py     all of it as HTML, for the page and for the report
describe.py  one question from the click to the last picture
panel.py     the part of the page in which one gaze is made
app.py       the page
serve.py     its server
"""
