# Builds alike with docker build (BuildKit), buildah and podman. Two stages: the first lays out /opt/boundtoken from the locked wheels
# (docs/release/layer.py), the second has that and Python, and neither a shell nor pip. The first runs on the builder's own
# processor, whatever the image is for: nothing of it is compiled for one, so that no emulation is needed.
# Why distroless: the same Python 3.13 for which the wheels are, half of slim's size, and nothing in it for who gets in. What it
# costs: Debian's patch release of Python, and no /bin/sh for `token write --exec`.

# Python 3.13.15: the bytecode, and with it the digest of the layer, is that of a patch release.
FROM --platform=$BUILDPLATFORM docker.io/library/python:3.13-slim-trixie@sha256:9d2e5553305c7c7b0097999bb17187c69b921ccd6bc9d40e4bb5ebe652c00285 AS build
COPY requirements-image.lock requirements-build.lock pyproject.toml README.md LICENSE /src/
COPY docs/release/layer.py /src/docs/release/
COPY webhook /src/webhook
ARG TARGETARCH
RUN python /src/docs/release/layer.py --python /usr/bin/python3.13 --machine "$TARGETARCH" /out

# The platform is named: buildah before 1.40 would otherwise take the base of the builder's processor.
FROM --platform=linux/$TARGETARCH gcr.io/distroless/python3-debian13:nonroot@sha256:83aa8d4f74a4d7f7cf2d472054139bef71a927b76c680c0f2e1021d6b1d6d732
COPY --from=build /out/ /
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG SOURCE=unknown
LABEL org.opencontainers.image.title="boundtoken" \
      org.opencontainers.image.description="A Kubernetes admission webhook that gives pods short-lived, audience-bound service account tokens" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.source="$SOURCE" \
      org.opencontainers.image.base.name="gcr.io/distroless/python3-debian13:nonroot"
# MALLOC_*: what a big review needed goes back to the system; without them glibc keeps it, and an attack with bodies that are
# held back takes twice the memory (docs/performance.md).
ENV PATH=/opt/boundtoken/bin:/usr/local/bin:/usr/bin:/bin \
    MALLOC_ARENA_MAX=2 \
    MALLOC_MMAP_THRESHOLD_=131072 \
    MALLOC_TRIM_THRESHOLD_=131072
USER 65532:65532
EXPOSE 10250 8080
ENTRYPOINT ["boundtoken"]
CMD ["serve"]
