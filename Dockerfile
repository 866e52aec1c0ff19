# accord serve, or any other command, in a container; docs/deployment.md has examples.
#
#     docker build -t accord .                                     # CPU
#     docker build -t accord --build-arg TORCH_BACKEND=cu130 .     # CUDA 13.0
ARG PYTHON_VERSION=3.12

FROM python:${PYTHON_VERSION}-slim AS build
# Whatever uv pip install --torch-backend takes: cpu, cu130, auto ...
ARG TORCH_BACKEND=cpu
ENV VIRTUAL_ENV=/opt/accord UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_NO_CACHE=1 \
    UV_PYTHON_DOWNLOADS=never
RUN python -m pip install --no-cache-dir "uv>=0.8,<1" && uv venv "$VIRTUAL_ENV"
WORKDIR /source
# torch comes first, alone: a change in the source does not download it again.
COPY requirements.lock ./
RUN uv pip install --torch-backend "$TORCH_BACKEND" -c requirements.lock torch setuptools
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
RUN uv pip install --torch-backend "$TORCH_BACKEND" -c requirements.lock --no-build-isolation .

FROM python:${PYTHON_VERSION}-slim
# The sampler's C++ is compiled for the processor that it runs on, when it is first needed.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 accord
COPY --from=build /opt/accord /opt/accord
ENV PATH=/opt/accord/bin:$PATH PYTHONUNBUFFERED=1
# By number, so that an orchestrator can see that it is not root.
USER 1000:1000
WORKDIR /home/accord
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/health', timeout=4)"]
ENTRYPOINT ["accord"]
CMD ["--help"]
