"""Fixations out of the files that eye trackers and published data sets come in."""

from llamafactory_gaze.data.recordings.detection import Detection, choose_detection
from llamafactory_gaze.data.recordings.formats import FORMATS, read_recording
from llamafactory_gaze.data.recordings.recording import Fixation, Recording


__all__ = ["FORMATS", "Detection", "Fixation", "Recording", "choose_detection", "read_recording"]
