# The images: edge, stt, llm, tts (vendors only, no models), tools, local (engines and models inside) and demo (the fake
# caller).
#
#   docker build --target edge --tag voice-edge:0.1.0 .
#
# Each is a Python environment made from its own hashed lock file (deploy/locks/) and the packages that its process
# imports.  Stages stand in the order of their cost, the engines last: Docker's classic builder builds every stage above
# the target.  Nothing here needs BuildKit.

# By its tag, so that an engine without a registry builds too; deploy/images.env has the digest.
# Another base, such as one of your own mirror: --build-arg PYTHON_IMAGE=...
ARG PYTHON_IMAGE=python:3.11-slim

# --- where environments are made; nothing of this stage but /opt/venv goes into an image ---------------------------

FROM ${PYTHON_IMAGE} AS build
# A mirror of the package index: --build-arg PIP_INDEX_URL=...  Unset arguments are not even in pip's environment.
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_TRUSTED_HOST
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_DEFAULT_TIMEOUT=60
RUN python -m venv --without-pip /opt/venv
WORKDIR /locks

# --- what all images have ------------------------------------------------------------------------------------------

FROM ${PYTHON_IMAGE} AS runtime
# tini reaps children and passes signals on before Python has installed its own handlers.  Without pip (and what comes
# with it) nothing can be installed in a running container; a base image that has none is fine, too.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends tini \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* \
    && { python -m pip uninstall --yes --quiet pip setuptools wheel || true; } \
    && groupadd --gid 10001 vobiz \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin vobiz
# The root file system may be read-only; whoever wants a home finds a tmpfs there.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    OPENBLAS_NUM_THREADS=1 \
    HOME=/tmp
WORKDIR /app
COPY deploy/compose/healthy.sh ./
STOPSIGNAL SIGTERM
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.vendor="vobiz-voice-agent" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="MIT"
# Read by common/process/build.py, for the metric voice_build_info.
RUN echo "${REVISION}" > REVISION
ENTRYPOINT ["/usr/bin/tini", "--"]

# --- edge: the callers' WebSockets, webhooks, the API; no model, no vendor SDK -------------------------------------

FROM build AS edge-packages
COPY deploy/locks/edge.lock ./
RUN python -m pip --python /opt/venv/bin/python install --no-deps --require-hashes --requirement edge.lock

FROM runtime AS edge
LABEL org.opencontainers.image.title="voice-edge" \
      org.opencontainers.image.description="Terminates the carrier's WebSockets of AI phone agents"
COPY --from=edge-packages /opt/venv /opt/venv
COPY common ./common
COPY edge ./edge
COPY agents ./agents
RUN python -m compileall -q common edge
ENV HTTP_PORT=8000
EXPOSE 8000
USER 10001:10001
# Alive, not ready: a full edge is not ill.  It answers once it is connected to Redis.
HEALTHCHECK --interval=1s --timeout=15s --start-period=30s --retries=3 CMD ["bash", "healthy.sh"]
CMD ["python", "-m", "edge"]

# --- demo: the fake caller, who needs what the edge needs ----------------------------------------------------------

FROM runtime AS demo
LABEL org.opencontainers.image.title="voice-demo" \
      org.opencontainers.image.description="A simulated caller that phones the edge and tells what it heard"
COPY --from=edge-packages /opt/venv /opt/venv
COPY common ./common
COPY deploy/__init__.py ./deploy/
COPY tools ./tools
COPY deploy/compose ./deploy/compose
COPY tests/__init__.py ./tests/
COPY simulators ./simulators
RUN python -m compileall -q common deploy tests
USER 10001:10001
# It lives as long as one call: there is nothing to watch.
HEALTHCHECK NONE
CMD ["python", "-m", "deploy.compose.demo"]

# --- llm: the mind -------------------------------------------------------------------------------------------------

FROM build AS llm-packages
COPY deploy/locks/llm.lock ./
RUN python -m pip --python /opt/venv/bin/python install --no-deps --require-hashes --requirement llm.lock

FROM runtime AS llm
LABEL org.opencontainers.image.title="voice-llm" \
      org.opencontainers.image.description="Answers callers by a language model's API"
COPY --from=llm-packages /opt/venv /opt/venv
COPY common ./common
COPY workers ./workers
RUN python -m compileall -q common workers
ENV METRICS_PORT=9102
EXPOSE 9102
USER 10001:10001
# A worker answers once its providers are warm.
HEALTHCHECK --interval=1s --timeout=15s --start-period=30s --retries=3 CMD ["bash", "healthy.sh"]
CMD ["python", "-m", "workers.llm"]

# --- stt: the ears, by vendors -------------------------------------------------------------------------------------

FROM build AS stt-packages
COPY deploy/locks/stt.lock ./
RUN python -m pip --python /opt/venv/bin/python install --no-deps --require-hashes --requirement stt.lock

FROM runtime AS stt
LABEL org.opencontainers.image.title="voice-stt" \
      org.opencontainers.image.description="Hears callers by a vendor's speech recognition"
COPY --from=stt-packages /opt/venv /opt/venv
COPY common ./common
COPY workers ./workers
RUN python -m compileall -q common workers
ENV METRICS_PORT=9101
EXPOSE 9101
USER 10001:10001
HEALTHCHECK --interval=1s --timeout=15s --start-period=30s --retries=3 CMD ["bash", "healthy.sh"]
CMD ["python", "-m", "workers.stt"]

# --- tts: the mouth, by vendors ------------------------------------------------------------------------------------

FROM build AS tts-packages
COPY deploy/locks/tts.lock ./
RUN python -m pip --python /opt/venv/bin/python install --no-deps --require-hashes --requirement tts.lock

FROM runtime AS tts
LABEL org.opencontainers.image.title="voice-tts" \
      org.opencontainers.image.description="Speaks to callers by a vendor's voices"
COPY --from=tts-packages /opt/venv /opt/venv
COPY common ./common
COPY workers ./workers
RUN python -m compileall -q common workers
ENV METRICS_PORT=9103
EXPOSE 9103
USER 10001:10001
HEALTHCHECK --interval=1s --timeout=15s --start-period=30s --retries=3 CMD ["bash", "healthy.sh"]
CMD ["python", "-m", "workers.tts"]

# --- tools: what agents look up and do, by HTTP, Python functions and MCP servers ----------------------------------

FROM build AS tools-packages
COPY deploy/locks/tools.lock ./
RUN python -m pip --python /opt/venv/bin/python install --no-deps --require-hashes --requirement tools.lock

FROM runtime AS tools
LABEL org.opencontainers.image.title="voice-tools" \
      org.opencontainers.image.description="Runs the tools of AI phone agents, apart from all that carries a call"
COPY --from=tools-packages /opt/venv /opt/venv
COPY common ./common
COPY workers ./workers
COPY voice ./voice
# The Python files beside the agents' files are its alone to run.
COPY agents ./agents
RUN python -m compileall -q common workers voice
ENV METRICS_PORT=9104
EXPOSE 9104
USER 10001:10001
HEALTHCHECK --interval=1s --timeout=15s --start-period=30s --retries=3 CMD ["bash", "healthy.sh"]
CMD ["python", "-m", "workers.tools"]

# --- local: any worker, with the keyless engines and their models; and the vendors' adapters -----------------------

FROM build AS local-packages
COPY deploy/locks/local.lock ./
RUN python -m pip --python /opt/venv/bin/python install --no-deps --require-hashes --requirement local.lock

FROM runtime AS local
# Piper and its voice are run as a process of their own, which makes no difference to who passes the image on.
LABEL org.opencontainers.image.title="voice-local" \
      org.opencontainers.image.description="A worker of any pool, with speech engines and models inside" \
      org.opencontainers.image.licenses="MIT AND Apache-2.0 AND BSD-3-Clause AND LGPL-2.1-or-later AND GPL-3.0-only"
# Other voices and recognisers are fetched into the home: mount a volume there to keep them.
RUN install --directory --owner=10001 --group=10001 /models
ENV HOME=/models
COPY --from=local-packages /opt/venv /opt/venv
COPY common ./common
COPY workers ./workers
RUN python -m compileall -q common workers
# Name another pool by the command and its port: python -m workers.tts, METRICS_PORT=9103.
ENV METRICS_PORT=9101
EXPOSE 9101 9102 9103
USER 10001:10001
# The engines need some seconds to load, or many on a busy machine.
HEALTHCHECK --interval=1s --timeout=15s --start-period=90s --retries=3 CMD ["bash", "healthy.sh"]
CMD ["python", "-m", "workers.stt"]
