# syntax=docker/dockerfile:1
# Two stages: the first installs exactly the locked wheels and our own code into a virtual environment, the second has
# that environment and nothing that builds.

FROM python:3.13-slim AS build
COPY requirements-image.lock requirements-build.lock /src/
RUN python -m venv --without-pip /opt/boundtoken \
 && pip --python /opt/boundtoken/bin/python install --no-cache-dir --no-compile --require-hashes --only-binary :all: -r /src/requirements-image.lock \
 && pip install --no-cache-dir --require-hashes --only-binary :all: -r /src/requirements-build.lock
COPY pyproject.toml README.md LICENSE /src/
COPY webhook /src/webhook
RUN pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /dist /src \
 && pip --python /opt/boundtoken/bin/python install --no-cache-dir --no-compile --no-deps --no-index /dist/*.whl \
 && /opt/boundtoken/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/boundtoken/lib

# MALLOC_*: what a big review needed goes back to the system; without them glibc keeps it, and an attack with bodies that are
# held back takes twice the memory (docs/performance.md).
FROM python:3.13-slim
COPY --from=build /opt/boundtoken /opt/boundtoken
ENV PATH=/opt/boundtoken/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    MALLOC_ARENA_MAX=2 \
    MALLOC_MMAP_THRESHOLD_=131072 \
    MALLOC_TRIM_THRESHOLD_=131072
USER 65532:65532
EXPOSE 10250 8080
ENTRYPOINT ["boundtoken"]
CMD ["serve"]
