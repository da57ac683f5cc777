"""The trials of an EyeLink recording, and which image each of their fixations is on.

Scripts name an image before its recording, during it or after it. Where TRIALID and TRIAL_RESULT do not tell, an image
that is named between two recordings may be of either; then the file's first and last recordings show the script's way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from llamafactory_gaze.data.recordings.recording import Fixation


Named = list[tuple[float, str]]  # when an image was named, in ms, and which


@dataclass
class Trial:
    """One trial, with the images that were named in it and around it."""

    name: str
    by_message: bool  # begun by TRIALID, so that it may hold several recordings
    outside: Named = field(default_factory=list)  # before it, in no trial
    between: Named = field(default_factory=list)  # before it, and after the END of a trial that was still open
    images: Named = field(default_factory=list)  # in it, up to its last END
    after: Named = field(default_factory=list)  # since then; if no TRIAL_RESULT came, the next trial's `between`
    closed: bool = False  # by TRIAL_RESULT
    fixations: list[tuple[float, Fixation]] = field(default_factory=list)  # start in ms; `image` is not filled in
    ended: bool = False  # a recording in it has an END
    counts: Counter[str] = field(default_factory=Counter)  # fixations of each eye

    def records_again(self) -> None:
        """What was named since its last END stands between two recordings of the same trial."""
        self.images, self.after = self.images + self.after, []

    def named(self, ahead: bool) -> Named:
        """The images of the trial, if those that stand outside of trials are of the one ahead, or of the one before."""
        before = self.outside + self.between if ahead else []
        return before + self.images + (self.after if self.closed or not ahead else [])

    def images_of_fixations(self, ahead: bool) -> list[str]:
        """The image named last before each fixation began; the first one, if all were named after the last began."""
        named = self.named(ahead)
        last = max((start for start, _ in self.fixations), default=0.0)
        late = named[0][1] if named and self.ended and named[0][0] > last else ""
        found = []
        for start, _ in self.fixations:
            past = [image for when, image in named if when <= start]
            found.append(past[-1] if past else late)
        return found


def keep_to_trials(trials: Sequence[Trial]) -> None:
    """Where trials begun by TRIALID name images, they are taken to name all of theirs, up to the next TRIALID."""
    of_messages = [trial for trial in trials if trial.by_message]
    if any(trial.images or (trial.closed and trial.after) for trial in of_messages):
        for trial in of_messages:
            trial.outside, trial.between, trial.closed = [], [], True


def order_matters(trials: Sequence[Trial]) -> bool:
    """Whether a fixation's image depends on whether images are named before their trial or after it."""
    return any(trial.images_of_fixations(True) != trial.images_of_fixations(False) for trial in trials)


def named_ahead(trials: Sequence[Trial]) -> bool | None:
    """Whether images that stand outside of trials are of the one that follows; None if the file does not tell."""
    if any(trial.images for trial in trials):
        return True
    only_ahead = any(trial.outside for trial in trials)
    only_behind = any(trial.after and (trial.closed or trial is trials[-1]) for trial in trials)
    return only_ahead if only_ahead != only_behind else None
