"""From an eye tracker's files, photographs and descriptions to a data set that LLaMA-Factory can train on.

recordings/     eye trackers' files and published data sets -> one table of fixations
maps/           fixations -> saliency maps
predicted/      saliency maps without an eye tracker, each labelled with its source
speech/         recordings and transcripts -> descriptions
triples/        images, maps and descriptions -> a registered data set
validation/     checks of a whole data set
hub.py          a data set in the layout of the Hugging Face Hub

Nothing imports torch on import.
"""
