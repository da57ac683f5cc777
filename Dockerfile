# llamafactory-gaze for a machine with an NVIDIA GPU, or with DEVICE=cpu for one without.
#
#   docker build --tag llamafactory-gaze .
#   docker build --tag llamafactory-gaze:cpu --build-arg DEVICE=cpu .
#
# What the steps do stands in docker/install.sh, which also runs without Docker. How to use the image: docs/container.md.
ARG DEVICE=gpu

# CUDA 13.0, for which PyPI's torch 2.14 is built; `devel` has the compiler that flash-attn needs.
FROM nvidia/cuda:13.0.2-cudnn-devel-ubuntu24.04@sha256:ae7f650405a3964972dacfa889273bf8e3fbe9709899afd187da01c4cdff3105 AS gpu

FROM python:3.11.14-slim-bookworm@sha256:65a93d69fa75478d554f4ad27c85c1e69fa184956261b4301ebaf6dbb0a3543d AS cpu

# hadolint ignore=DL3006 # one of the two above, which are pinned
FROM ${DEVICE}
ARG DEVICE
# Compilers that build flash-attn at the same time; each takes several GB of memory.
ARG MAX_JOBS=4

LABEL org.opencontainers.image.title="llamafactory-gaze" \
      org.opencontainers.image.description="A LLaMA-Factory plug-in that lets Qwen2.5-VL see where people look" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0"

ENV DEVICE=${DEVICE} \
    VENV=/opt/venv \
    NLTK_DATA=/opt/nltk_data \
    PIP_NO_CACHE_DIR=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
ENV PATH=${VENV}/bin:${PATH}

WORKDIR /opt/llamafactory-gaze
COPY docker/ docker/
RUN docker/install.sh system
# The packages first: a change of the code then builds in seconds.
COPY setup.py pyproject.toml README.md ./
RUN docker/install.sh packages
COPY . .
RUN docker/install.sh project && docker/install.sh check

# Everything that is written, caches and downloaded models too, goes to /work, which the user of the container owns.
RUN groupadd --gid 10001 gaze \
    && useradd --uid 10001 --gid gaze --home-dir /work --create-home gaze
ENV HOME=/work \
    HF_HOME=/work/huggingface
USER 10001:10001
WORKDIR /work
VOLUME ["/work"]

CMD ["llamafactory-gaze", "demo"]
