"""Saliency predictors: two algorithms of OpenCV, and any function of the user's."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable
from importlib.metadata import packages_distributions
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np
from PIL import Image

from llamafactory_gaze.data.predicted.numbers import map_of_numbers
from llamafactory_gaze.data.predicted.photograph import Photograph
from llamafactory_gaze.data.predicted.source import NoMap
from llamafactory_gaze.data.provenance import file_sha256, installed_version
from llamafactory_gaze.data.tables import DataError


# OpenCV's static saliency (docs.opencv.org, module saliency). spectral-residual: Hou and Zhang, "Saliency detection: a
# spectral residual approach", CVPR 2007. fine-grained: Montabone and Soto, "Human detection using a mobile platform and
# novel features derived from a visual saliency mechanism", Image and Vision Computing 28 (2010).
Method = Literal["spectral-residual", "fine-grained"]
_CLASSES: dict[Method, str] = {"spectral-residual": "SpectralResidual", "fine-grained": "FineGrained"}

Predictor = Callable[[Image.Image], Any]  # an RGB picture -> (H, W) numbers, not negative


class OpenCVPredictor:
    """One of OpenCV's algorithms. They know contrast and rarity, nothing of faces, text or meaning.

    Args:
        method: see `Method`.
        sigma_px: standard deviation in pixels of the photograph of the Gaussian that smooths the map; None: none.

    Raises:
        DataError: the installed OpenCV has no saliency module.
    """

    def __init__(self, method: Method = "spectral-residual", sigma_px: float | None = None) -> None:
        import cv2  # here: the command line should not wait for it

        if not hasattr(cv2, "saliency"):  # packages of OpenCV with and without contrib fill the same folder
            raise DataError(
                f"The installed OpenCV {cv2.__version__} has no saliency module, since a package without contrib was "
                "installed over it; `pip install --force-reinstall opencv-contrib-python-headless` mends that."
            )
        self.method = method
        self.sigma_px = sigma_px
        self._library = f"opencv {cv2.__version__}"
        self._algorithm = getattr(cv2.saliency, f"StaticSaliency{_CLASSES[method]}_create")()

    def label(self, photograph: Photograph) -> dict[str, Any]:
        return {
            "source": "saliency predictor",
            "method": self.method,
            "library": self._library,
            "sigma_px": self.sigma_px,
        }

    def draw(self, photograph: Photograph, longest_side: int | None) -> np.ndarray:
        bgr = np.ascontiguousarray(np.asarray(photograph.read())[..., ::-1])
        if (bgr == bgr[0, 0]).all():  # the spectrum of such a picture is nothing but rounding
            raise NoMap("all its pixels are equal")
        _, values = self._algorithm.computeSaliency(bgr)
        return map_of_numbers(values, photograph, longest_side, self.sigma_px, self.method)


class UserPredictor:
    """A function of the user's: an RGB picture of PIL in, (H, W) numbers that are not negative out.

    H and W may be smaller than the picture's, with the same aspect ratio. The function must give the same numbers for
    the same picture.

    Args:
        function: the predictor.
        name: what the maps call it.
        sigma_px: as for `OpenCVPredictor`.
        library: package and version that it comes from, for the label.
        sha256: of the file that it comes from, for the label.
    """

    def __init__(
        self,
        function: Predictor,
        name: str,
        sigma_px: float | None = None,
        library: str | None = None,
        sha256: str | None = None,
    ) -> None:
        self._function = function
        self._name = name
        self._label = {
            "source": "predictor of the user",
            "method": name,
            "library": library,
            "sigma_px": sigma_px,
            "predictor_sha256": sha256,
        }
        self.sigma_px = sigma_px

    @classmethod
    def load(cls, text: str, sigma_px: float | None = None) -> UserPredictor:
        """Load `package.module:function`, or `file.py:function`, which runs that module or file.

        Raises:
            DataError: not understood, it cannot be loaded, or there is no such function.
        """
        where, colon, name = text.rpartition(":")
        if not colon or not where or not name:
            raise DataError(f"--predictor is '{text}'; expected package.module:function or file.py:function.")
        file = Path(where) if where.endswith(".py") else None
        if file is not None and not file.is_file():
            raise DataError(f"--predictor {text}: the file {file} does not exist.")
        try:
            module = importlib.import_module(where) if file is None else _module_of(file)
            function = getattr(module, name, None)
        except (Exception, SystemExit) as error:  # whatever the user's code raises
            raise DataError(f"--predictor {text} cannot be loaded ({_in_words(error)}).") from error
        if not callable(function):
            raise DataError(f"--predictor {text}: there is no function {name} in {where}.")
        if file is not None:
            return cls(function, f"{file.name}:{name}", sigma_px, None, file_sha256(file))
        return cls(function, text, sigma_px, _library_of(where), None)

    def label(self, photograph: Photograph) -> dict[str, Any]:
        return dict(self._label)

    def draw(self, photograph: Photograph, longest_side: int | None) -> np.ndarray:
        picture = photograph.read()
        try:
            values = self._function(picture)
        except (Exception, SystemExit) as error:
            raise DataError(f"{self._name} failed on the image {photograph.path} ({_in_words(error)}).") from error
        return map_of_numbers(values, photograph, longest_side, self.sigma_px, self._name)


def _module_of(file: Path) -> ModuleType:
    """Run a file as a module; what lies beside it can be imported, as with `python file.py`."""
    folder = str(file.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    spec = importlib.util.spec_from_file_location(f"_predictor_{file.stem}", file)
    assert spec is not None and spec.loader is not None  # a file that ends in .py
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses, for instance, look for it there
    spec.loader.exec_module(module)
    return module


def _library_of(module: str) -> str | None:
    """Name and version of the installed package that a module belongs to."""
    package, *_ = packages_distributions().get(module.partition(".")[0], [""])
    found = installed_version(package) if package else None
    return None if found is None else f"{package} {found}"


def _in_words(error: BaseException) -> str:
    """An error of the user's code and the last line of it, since only one sentence is shown."""
    frames = traceback.extract_tb(error.__traceback__)
    last = f" in {Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}: {error}{last}"
